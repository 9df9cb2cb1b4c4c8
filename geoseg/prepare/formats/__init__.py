"""Formats of annotations, one file each; `geoseg.prepare.readers` has them by name."""
