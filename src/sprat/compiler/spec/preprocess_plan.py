"""`[[preprocess.INPUT]]` of a recipe: the steps from what a sensor gives to what the model takes.

The steps are the device's own (`sprat_device.contract.preprocess`): the data of the recipe goes through the same code
before it is split, so training, gates, golden set and baseline all see what the model sees on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from sprat.compiler.spec.sections import Section
from sprat.errors import RecipeError
from sprat_device.contract import preprocess
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.preprocess import StepFailed

Array = npt.NDArray[Any]
Steps = tuple[Mapping[str, Any], ...]


def read(section: Section) -> dict[str, Steps]:
    """Return the steps of each input, or raise RecipeError for one that no device knows."""
    found: dict[str, Steps] = {}
    for name in section.raw:
        steps = section.take(name, list)
        if not steps or not all(isinstance(step, dict) for step in steps):
            raise section.wrong(name, steps, f"[[preprocess.{name}]] tables, each with a step")
        try:
            preprocess.read(steps, f"preprocess.{name}")
        except BundleRefused as exc:
            raise RecipeError(f"{section.source.place((*section.path, name))}: {exc.args[0]}") from exc
        found[name] = tuple(steps)
    section.finish()
    return found


def prepared(array: Array, steps: Steps, name: str) -> Array:
    """Return rows [n, …] of an input as the model takes them, or raise RecipeError where a step cannot take them."""
    plan = preprocess.read(steps, f"preprocess.{name}")
    if plan.window is not None:
        _require_windows(array, plan.window, name)
    try:
        return plan.batch(array)
    except (StepFailed, ValueError) as exc:
        raise RecipeError(f"preprocess.{name}: {exc}") from exc


def _require_windows(array: Array, window: preprocess.WindowStep, name: str) -> None:
    """Require whole windows in the data: the step says how a device makes them of its samples."""
    channels = len(window.channels)
    if array.ndim < 2 or array.shape[1] != window.rows or (channels and array.shape[2:] != (channels,)):
        wanted = f"{window.rows} rows" + (f" of {channels} channels" if channels else "")
        raise RecipeError(
            f"preprocess.{name}: the data has windows of shape {list(array.shape[1:])}, the step says {wanted}"
        )


def require_known(steps: Mapping[str, Steps], inputs: Mapping[str, str], *, stream: bool, section: Section) -> None:
    """Raise RecipeError for steps of an input that is none, that holds text, or of a model with sequences as rows."""
    for name in steps:
        if name not in inputs:
            raise section.wrong(name, name, f"an input of the recipe: {', '.join(inputs)}")
        if inputs[name] == "text":
            raise section.wrong(name, name, "an input of numbers: text has no such steps")
        if stream:
            raise section.wrong(name, name, "no steps beside [stream]: a row is a sequence, not one reading")
