"""Synthetic scenes of the demo."""
