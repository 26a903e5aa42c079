"""What is asked for: the recipe with its files, the target, and what a candidate must reach."""
