"""The dataset folder: read, build, split, validate, export chips."""
