"""Weights and activations of an `.onnx`, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from sprat.compiler.report.anatomy import ACTIVATION, WEIGHT

Array = npt.NDArray[Any]


def tensors(path: Path, rows: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield `weight/NAME` and `activation/NAME` with their values; every node becomes an output."""
    model = onnx.load(str(path))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, values in stored.items():
        base = name.removesuffix("_quantized")
        if values.size > 1 and values.dtype.kind == "f" and not name.endswith(("_scale", "_zero_point")):
            yield WEIGHT + name, values.ravel()
        elif base != name and f"{base}_scale" in stored:
            scale = stored[f"{base}_scale"]
            zero = stored.get(f"{base}_zero_point", np.zeros(1)).astype(np.float64)
            shape = (-1,) + (1,) * (values.ndim - 1) if scale.size > 1 else (1,) * values.ndim
            yield WEIGHT + base, ((values - zero.reshape(shape)) * scale.reshape(shape)).ravel()
    known = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    for name, values in zip(outputs, session.run(None, dict(rows)), strict=True):
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            yield ACTIVATION + name, values.ravel()
