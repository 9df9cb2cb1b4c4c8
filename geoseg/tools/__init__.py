"""Tools: named files in, named files out. A tool and its command share a name."""
