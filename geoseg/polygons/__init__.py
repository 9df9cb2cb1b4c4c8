"""Polygons of label rasters: trace, clean, split, simplify, measure, write."""
