"""What runs the models: `[runtime]`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting, settings_of
from sprat_device.contract.errors import WrongUse, did_you_mean

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


_NUMERIC: Final = ("threads", "xnnpack", "onnx_inter_threads", "onnx_optimisation", "onnx_arena", "onnx_memory_pattern")
"""What another process must be told, to run an artifact as this one does."""


def told(settings: RuntimeSettings) -> list[str]:
    """Return as KEY=VALUE how artifacts are run, where that is not the default."""
    plain = RuntimeSettings()
    differing = [key for key in _NUMERIC if getattr(settings, key) != getattr(plain, key)]
    return [f"{key}={str(getattr(settings, key)).lower()}" for key in differing]


def heard(words: Iterable[str]) -> RuntimeSettings:
    """Return the settings that KEY=VALUE words tell; WrongUse for another word."""
    known = settings_of(RuntimeSettings)
    found = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in known:
            raise WrongUse(f"runtime setting {key!r} is unknown{did_you_mean(key, known)}")
        try:
            found[key] = known[key].metadata["read"](value)
        except ValueError as exc:
            raise WrongUse(f"runtime.{key}: found {value!r}, expected {exc}") from exc
    return RuntimeSettings(**found)
