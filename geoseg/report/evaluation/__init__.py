"""An evaluation as a page: numbers, tables, curves, scenes to look at, and where all of it comes from."""
