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
    xnnpack: str = setting(
        "auto",
        values.choice("auto", "on", "off"),
        "kernels of XNNPACK in .tflite artifacts: the runtime's choice, or not",
    )
    onnx_inter_threads: int = setting(1, values.integer(1, 64), "branches of an .onnx graph that run side by side")
    onnx_optimisation: str = setting(
        "all", values.choice("off", "basic", "extended", "all"), "of an .onnx graph when it is loaded"
    )
    onnx_arena: bool = setting(True, values.boolean, "ONNX Runtime keeps freed memory for the next run")
    onnx_memory_pattern: bool = setting(True, values.boolean, "ONNX Runtime plans a run's memory in one block")
    cache_entries: int = setting(
        0, values.integer(0, 1_000_000), "answers kept for inputs that come again, for each input; 0 is off"
    )
    cache_bytes: int = setting(1024 * 1024, values.integer(4096), "what those answers may take, for each input")
