"""A given `.tflite`: the research model is the file itself, run on TensorFlow's reference kernels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler.factory import Part
from sprat.compiler.work import Work
from sprat.errors import RecipeError


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Answer every part with the file's first output."""
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_REF
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter announces its successor on every use
            interpreter = tf.lite.Interpreter(model_path=work.given, experimental_op_resolver_type=resolver)
        runner = interpreter.get_signature_runner()
    except ValueError as exc:
        raise RecipeError(f"{work.given}: not a .tflite with one signature ({exc})") from exc
    return {name: _answer(runner, part) for name, part in parts.items()}


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the given file."""
    return hashlib.sha256(Path(work.given).read_bytes()).hexdigest()


def _answer(runner: Any, part: Part) -> npt.NDArray[Any]:
    details = runner.get_input_details()
    rows = []
    for i in range(len(part.labels)):
        inputs = {name: np.asarray(array[i : i + 1], details[name]["dtype"]) for name, array in part.inputs.items()}
        rows.append(next(iter(runner(**inputs).values()))[0])
    return np.stack(rows)
