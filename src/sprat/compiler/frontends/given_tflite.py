"""litert-quantizer over a given float `.tflite`: what TensorFlow's converter cannot do without the source model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import Quantizer, recipe

from sprat.compiler.frontends import flatbuffer
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, NotNeeded, Work


def quantize(work: Work, recipe_name: str, parts: Mapping[str, Part] | None) -> Lowered:
    """Quantize by one of litert-quantizer's own recipes; with parts, calibrated on the calibration rows."""
    source = Path(work.given).read_bytes()
    interpreter = flatbuffer.open_file(source)
    quantized = flatbuffer.quantized(interpreter)
    if quantized:
        raise NotNeeded(f"the given file is already quantized: {quantized} of its tensors are")
    if flatbuffer.is_stateful(interpreter):
        raise NotNeeded("the given file keeps state between readings, which litert-quantizer does not calibrate")
    quantizer = Quantizer(source, getattr(recipe, recipe_name)())
    calibration = None
    if parts is not None:
        calibration = quantizer.calibrate({_signature(interpreter): _rows(interpreter, parts["calibration"])})
    made = quantizer.quantize(calibration, enable_progress_bar=False, enable_progress_report=False)
    options = {"recipe": recipe_name, "litert_quantizer": version("litert-quantizer")}
    return flatbuffer.lowered(bytes(made.quantized_model), options)


def _signature(interpreter: Any) -> str | None:
    return next(iter(interpreter.get_signature_list()), None)


def _rows(interpreter: Any, part: Part) -> list[dict[str, Any]]:
    """Return the readings by the signature's names; a file without one has its tensors' names."""
    ins, _ = flatbuffer.places(interpreter)
    names = [ins.get(detail["index"], detail["name"]) for detail in interpreter.get_input_details()]
    return [
        {name: np.asarray(part.inputs[name][row : row + 1], np.float32) for name in names}
        for row in range(len(part.labels))
    ]
