"""Inference on scenes of any size: tiling, prediction, journal."""
