"""All SQL of the hub, one writer per database; the rest of the hub sees frozen values and methods."""
