"""Reports, maps, figures and pictures."""
