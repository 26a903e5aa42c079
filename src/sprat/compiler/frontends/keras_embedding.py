"""A Keras model with one of its layers as a further output, so that a device sees what the layer makes of a reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from sprat.errors import RecipeError


def beside(model: Any, name: str) -> Any:
    """Return the model with the output of the named layer under that name, the weights shared; RecipeError where it has none.

    A model that gives an output of that name itself is returned as it is; so is a subclassed one, whose layers have no
    outputs of their own: it has to.
    """
    if not getattr(model, "inputs", None):
        return model
    own = _named(model.outputs if isinstance(model, keras.Sequential) else model.output)
    if name in own:
        return model
    layer = _layer(model, name)
    # Several inputs are given by name, as the export does.
    inputs = {tensor.name: tensor for tensor in model.inputs} if len(model.inputs) > 1 else model.inputs[0]
    try:
        return keras.Model(inputs, {**own, name: layer.output})
    except (AttributeError, ValueError) as exc:
        said = " ".join(str(exc).split())[:160]
        raise RecipeError(
            f"embedding: layer {name!r} has no output of its own in this model ({said}); name one behind it"
        ) from exc


def _named(outputs: Any) -> dict[str, Any]:
    """Return outputs under the names that an export gives them."""
    if isinstance(outputs, Mapping):
        return {str(key): tensor for key, tensor in outputs.items()}
    several = outputs if isinstance(outputs, list | tuple) else [outputs]
    return {f"output_{place}": tensor for place, tensor in enumerate(several)}


def _layer(model: Any, name: str) -> Any:
    found = next((layer for layer in model.layers if layer.name == name), None)
    if found is None:
        names = ", ".join(layer.name for layer in model.layers)
        raise RecipeError(f"embedding: layer {name!r} is not in the model, which has {names}")
    return found
