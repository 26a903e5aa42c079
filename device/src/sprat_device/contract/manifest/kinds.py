"""The closed vocabularies of a manifest."""

from enum import StrEnum


class Format(StrEnum):
    """The artifact's file format."""

    TFLITE = "tflite"
    ONNX = "onnx"


class Runtime(StrEnum):
    """A program library that runs artifacts; its package and its check stand in `inference/runtimes`."""

    TFLITE = "tflite"
    LITERT = "litert"
    ONNX = "onnx"


class Task(StrEnum):
    """What the model does, which decides its metric and its post-processing."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


class State(StrEnum):
    """What a run of the artifact leaves behind for the next one."""

    NONE = "none"
    CLEARED = "cleared"
    """Kernels with a memory of their own, which each reading must find empty."""
    KEPT = "kept"
    """A stream: what came before is part of the answer, until the state is reset."""
