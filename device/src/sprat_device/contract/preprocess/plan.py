"""From the steps that a manifest names to one function of a reading; a step that is not known is refused by its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.phases import Reason
from sprat_device.contract.preprocess import window
from sprat_device.contract.preprocess.steps import STEPS, Apply, Array
from sprat_device.contract.preprocess.window import WINDOW, WindowStep

Steps = Sequence[Mapping[str, Any]]
Prepare = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with one input: windows first, by its source; then the steps, in order."""

    window: WindowStep | None
    steps: tuple[Apply, ...]

    def run(self, array: Array) -> Array:
        """Return one reading as the model takes it; StepFailed says which step could not take it."""
        for step in self.steps:
            array = step(array)
        return array.astype(np.float32, copy=False) if array.dtype == np.float64 else array

    def batch(self, arrays: Array) -> Array:
        """Return readings [n, …] as the model takes them, each run by itself as on a device."""
        return np.stack([self.run(array) for array in arrays]) if self.steps and len(arrays) else arrays


def plans(preprocess: Mapping[str, Steps]) -> dict[str, Plan]:
    """Return the plan of each input of a manifest's `preprocess`, or raise BundleRefused."""
    return {name: read(steps, f"preprocess.{name}") for name, steps in preprocess.items()}


def plan_of(preprocess: Mapping[str, Steps], name: str) -> Plan:
    """Return the plan of one input, an empty one where nothing is declared for it."""
    return read(preprocess.get(name, ()), f"preprocess.{name}")


def read(steps: Steps, where: str) -> Plan:
    """Read the steps of one input: BundleRefused for one that is not known, or that makes no sense."""
    made: list[Apply] = []
    windows: WindowStep | None = None
    for place, raw in enumerate(steps):
        name = raw.get("step")
        spot = f"{where}[{place}]"
        if name not in (WINDOW, *STEPS):
            raise BundleRefused(
                Reason.UNKNOWN_STEP,
                f"{spot}: step {name!r:.40} is not known here, which knows {WINDOW}, {', '.join(STEPS)}; "
                "upgrade the agent, or build without it",
            )
        if name == WINDOW and place:
            raise BundleRefused(Reason.BAD_BUNDLE, f"{spot}: windows are made first, so this step comes first")
        fields = Fields(raw, spot)
        try:
            fields.text("step")
            if name == WINDOW:
                windows = window.read(fields)
            else:
                made.append(STEPS[name](fields))
        except ContractError as exc:
            raise BundleRefused(Reason.BAD_BUNDLE, f"{spot}: {exc}") from exc
        # Unlike elsewhere, what is not known here must not be passed over: it would change what the model sees.
        if rest := fields.rest():
            raise BundleRefused(Reason.UNKNOWN_STEP, f"{spot}: step {name} has no parameter {min(rest)!r:.40} here")
    return Plan(windows, tuple(made))
