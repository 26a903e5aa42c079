"""Data sets: columns by name, their content hash, their splits, their quality, their labels."""
