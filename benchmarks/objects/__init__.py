"""Comparison of object outputs: networks, targets, decoders and scores. docs/objects.md has the results."""
