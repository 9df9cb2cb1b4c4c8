"""Writers of polygons, one module per file format."""
