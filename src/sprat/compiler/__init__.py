"""From a recipe and data to the best artifact that fits each target; `build.py` holds the one verb."""

import os

# ONNX Runtime's Linux builds from 1.29 on tell their maker about sessions, model files' names among it: not from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
