"""Synthetic scenes of the demo, drawn by code."""
