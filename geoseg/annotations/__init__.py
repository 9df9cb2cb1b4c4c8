"""Annotations: read and write, one module per file format; burn into labels."""
