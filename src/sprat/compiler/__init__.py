"""From a recipe and data to the best artifact that fits each target; `build.py` holds the one verb."""
