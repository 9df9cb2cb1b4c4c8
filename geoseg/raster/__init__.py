"""Rasters: open and check, read by windows, resample, mosaic, georeference, write COGs."""
