"""The hooks that take out of a reading what must not leave the device: entry points of the group `sprat.redact`.

A hook is `redact(model, inputs)`: it gets the reading's arrays by name and returns those that may be sent, changed or
fewer. Every installed hook runs, in the order of their names. What goes wrong in one must end in a capture that is
dropped, never in one that is sent as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import MachineLacks

GROUP: Final = "sprat.redact"

Inputs = Mapping[str, npt.NDArray[Any]]
Hook = Callable[[str, Inputs], Inputs]


class RedactionFailed(Exception):
    """A hook raised, or returned what no reading is."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Hooks by name, in the order in which they run."""

    hooks: Mapping[str, Hook]

    def apply(self, model: str, inputs: Inputs) -> Inputs:
        """Return what may be sent of a reading, or raise RedactionFailed."""
        for name, hook in self.hooks.items():
            # A copy: a hook that writes into an array must not change what another reader still looks at.
            given = {key: array.copy() for key, array in inputs.items()}
            try:
                inputs = _plain(hook(model, given), inputs)
            except BaseException as exc:  # whatever a foreign package raises, a cancelled task too
                # The type alone: a hook's own words could hold what it was to hide.
                raise RedactionFailed(f"hook {name!r}: {type(exc).__name__}") from exc
        return inputs


def installed(required: Sequence[str]) -> Redaction:
    """Load every installed hook; MachineLacks where a required one is not there or cannot be loaded."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - half a MiB, for those who have a hook

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in required:
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise MachineLacks(
                f"capture.redact: hook {name!r} is not installed (found: {known}); install its package, nothing is captured before"
            )
    try:
        return Redaction({name: found[name].load() for name in sorted(found)})
    # Whatever a foreign package raises while it is imported.
    except Exception as exc:
        raise MachineLacks(
            f"{GROUP}: a hook cannot be loaded ({type(exc).__name__}: {exc}); mend or remove it"
        ) from exc


def _plain(given: Any, before: Inputs) -> dict[str, npt.NDArray[Any]]:
    arrays = {str(name): np.asarray(array) for name, array in dict(given).items()}
    if not arrays or not arrays.keys() <= before.keys():
        raise ValueError("expected at least one of the inputs, and no others")
    return arrays
