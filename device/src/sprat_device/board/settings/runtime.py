"""What runs the models: `[runtime]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting

RUNTIMES: Final = ("tflite", "litert", "onnx")


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """`[runtime]`."""

    threads: int = setting(1, values.integer(1, 64), "of the inference runtime")
    prefer: tuple[str, ...] = setting(RUNTIMES, values.choices(*RUNTIMES), "first that the bundle and the machine have")
