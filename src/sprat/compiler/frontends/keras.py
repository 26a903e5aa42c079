"""Keras: trains by the recipe's factory, seeded and deterministic, and exports a SavedModel with a static batch of one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler import factory
from sprat.compiler.factory import Part
from sprat.compiler.work import SAVED_MODEL, Lowered, TensorFacts, Work
from sprat.errors import RecipeError


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Train, export and answer every part with probabilities or values as float32."""
    keras.utils.set_random_seed(work.seed)
    tf.config.experimental.enable_op_determinism()
    build = factory.load(Path(work.factory), "model")
    model = build(parts["train"], parts["validation"], seed=work.seed, **work.parameters)
    if not isinstance(model, keras.Model):
        raise RecipeError(f"factory {work.factory}: model() gave {type(model).__name__}, expected a keras.Model")
    names = [tensor.name for tensor in model.inputs]
    if sorted(names) != sorted(work.input_names):
        raise RecipeError(
            f"factory {work.factory}: the model's inputs are {', '.join(names)}, the recipe's {', '.join(work.input_names)}"
        )
    # A static batch and the SavedModel route: from_concrete_functions on Keras 3 gives silent NaN.
    signature = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=tensor.name) for tensor in model.inputs]
    model.export(str(work.path / SAVED_MODEL), format="tf_saved_model", input_signature=signature, verbose=False)
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
    (work.path / "source.sha256").write_text(hashlib.sha256(weights).hexdigest())
    return {name: _answer(model, part) for name, part in parts.items()}


def source_digest(work: Work) -> str:
    """Return the SHA-256 over the trained weights."""
    return (work.path / "source.sha256").read_text()


def converter(work: Work) -> Any:
    """Return a fresh converter over the exported model."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(work.path / SAVED_MODEL))
    # Per-channel dense layers need FULLY_CONNECTED v12, which tflite-runtime 2.14 does not know.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def representative(parts: Mapping[str, Part]) -> Any:
    """Return the generator of calibration rows that the converter asks for."""

    def rows() -> Any:
        inputs = parts["calibration"].inputs
        for i in range(len(parts["calibration"].labels)):
            yield {name: np.asarray(array[i : i + 1], np.float32) for name, array in inputs.items()}

    return rows


def lowered(artifact: bytes, options: Mapping[str, Any]) -> Lowered:
    """Read what a `.tflite` says of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf.lite.Interpreter announces its successor on every use
        interpreter = tf.lite.Interpreter(model_content=artifact)
    interpreter.allocate_tensors()
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        raise RecipeError(f"the .tflite has {len(signatures)} signatures, expected one; export it with its names")
    signature = interpreter._get_full_signature_list()[next(iter(signatures))]
    inputs = _facts(interpreter.get_input_details(), signature["inputs"])
    outputs = _facts(interpreter.get_output_details(), signature["outputs"])
    ops = sorted({op["op_name"] for op in interpreter._get_ops_details()} - {"DELEGATE"})
    return Lowered(artifact, inputs, outputs, options, tuple(ops))


def _facts(details: list[dict[str, Any]], places: Mapping[str, int]) -> tuple[TensorFacts, ...]:
    names = {place: name for name, place in places.items()}
    return tuple(
        TensorFacts(
            name=names.get(detail["index"], detail["name"]),
            dtype=np.dtype(detail["dtype"]).name,
            shape=tuple(int(n) for n in detail["shape"]),
            scale=float(detail["quantization"][0]),
            zero_point=int(detail["quantization"][1]),
        )
        for detail in details
    )


def _answer(model: Any, part: Part) -> npt.NDArray[Any]:
    inputs = {name: np.asarray(array, np.float32) for name, array in part.inputs.items()}
    return np.asarray(model.predict(inputs, batch_size=256, verbose=0))
