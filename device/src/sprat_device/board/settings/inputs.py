"""Where readings come from: `[[inputs]]`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import model_name

SOURCES: Final = ("replay", "stdin", "folder")


@dataclass(frozen=True, slots=True)
class InputSettings:
    """One source of inputs: `[[inputs]]`."""

    REQUIRED: ClassVar = ("model", "kind")

    model: str = setting("", model_name, "the model that it feeds")
    kind: str = setting("", values.choice(*SOURCES), "what it reads")
    path: str = setting("", values.text, "file or folder, for replay and folder")
    rate_hz: float = setting(0.0, values.number(0, 100_000), "inputs a second; 0 is as fast as they come")
    loop: bool = setting(False, values.boolean, "begin again at the end")
    name: str = setting("", values.name, "tells it from other inputs of the same model; empty for the only one")


def require_distinct(inputs: Iterable[InputSettings], came_from: str) -> None:
    """Raise WrongUse where two inputs of one model could not be told apart."""
    for (model, name), times in Counter((entry.model, entry.name) for entry in inputs).items():
        if times > 1:
            raise WrongUse(
                f"inputs ({came_from}): model {model!r} has {times} inputs named {name!r}; give each a name of its own"
            )
