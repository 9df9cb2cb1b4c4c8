"""Metrics of label quality: pixels, boundaries, objects, calibration."""
