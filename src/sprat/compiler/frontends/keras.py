"""Keras: trains by the recipe's factory, seeded and deterministic, and exports a SavedModel with a static batch of one.

Sequential, functional and subclassed models; one with recurrent layers is exported a second time with these written
out, since their loop cannot be quantized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from sprat.compiler.frontends import keras_embedding, outputs
from sprat.compiler.spec import factory
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import SAVED_MODEL, UNROLLED, Work
from sprat.errors import RecipeError

MAX_UNROLLED_STEPS: Final = 128
"""Every step is written out as operators of its own: beyond this the file is no longer one for a small device."""


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Train, export and answer every part with probabilities or values as float32."""
    keras.utils.set_random_seed(work.seed)
    tf.config.experimental.enable_op_determinism()
    build = factory.load(Path(work.factory), "model")
    model = build(parts["train"], parts["validation"], seed=work.seed, **work.parameters)
    if not isinstance(model, keras.Model):
        raise RecipeError(f"factory {work.factory}: model() gave {type(model).__name__}, expected a keras.Model")
    # Before the export: writing recurrent layers out changes the order of their sums.
    answers = {name: _answer(model, part, work) for name, part in parts.items()}
    _export(keras_embedding.beside(model, work.embedding) if work.embedding else model, work, parts["train"])
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
    (work.path / "source.sha256").write_text(hashlib.sha256(weights).hexdigest())
    return answers


def source_digest(work: Work) -> str:
    """Return the SHA-256 over the trained weights."""
    return (work.path / "source.sha256").read_text()


def _export(model: Any, work: Work, part: Part) -> None:
    signature = _signature(model, work, part)
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    model.export(str(work.path / SAVED_MODEL), format="tf_saved_model", input_signature=signature, verbose=False)
    if not recurrent or _steps(signature) > MAX_UNROLLED_STEPS:
        return
    for layer in recurrent:
        layer.unroll = True  # read when the layer is traced again
    model.export(str(work.path / UNROLLED), format="tf_saved_model", input_signature=signature, verbose=False)


def _signature(model: Any, work: Work, part: Part) -> list[Any]:
    """Return the inputs with a static batch: recurrent layers and small runtimes need it."""
    tensors = getattr(model, "inputs", None)
    if not tensors:  # a subclassed model has none of its own: the recipe and the data say
        specs = {
            name: tf.TensorSpec((1, *part.inputs[name].shape[1:]), tf.float32, name=name) for name in work.input_names
        }
        return _packed(specs)
    names = [tensor.name for tensor in tensors]
    if len(names) == len(work.input_names) == 1:
        names = list(work.input_names)  # Keras made up a name where the factory gave none
    if sorted(names) != sorted(work.input_names):
        raise RecipeError(
            f"factory {work.factory}: the model's inputs are {', '.join(names)}, the recipe's {', '.join(work.input_names)}"
        )
    pairs = zip(names, tensors, strict=True)
    return _packed({name: tf.TensorSpec((1, *one.shape[1:]), one.dtype, name=name) for name, one in pairs})


def _packed(specs: dict[str, Any]) -> list[Any]:
    """Return the arguments of one call: an only input as it is, several by name."""
    return list(specs.values()) if len(specs) == 1 else [specs]


def _steps(signature: list[Any]) -> int:
    return max((spec.shape[1] for spec in tf.nest.flatten(signature) if len(spec.shape) > 2), default=0)


def _answer(model: Any, part: Part, work: Work) -> npt.NDArray[Any]:
    rows = {name: np.asarray(array, np.float32) for name, array in part.inputs.items()}
    found = model.predict(rows if len(rows) > 1 else next(iter(rows.values())), batch_size=256, verbose=0)
    return outputs.joined(outputs.named(found), work.answer, beside=work.embedding)
