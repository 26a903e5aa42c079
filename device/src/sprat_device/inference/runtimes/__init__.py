"""The program libraries that run artifacts: which are here, which one a bundle gets, and how it is opened.

Each runtime module is imported only when its runtime is opened; `available()` reads package metadata alone.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from sprat_device.board import packages
from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.manifest import Format, Runtime
from sprat_device.contract.phases import Reason
from sprat_device.inference.runtimes.raw import RawSession, RuntimeModule

PACKAGES: Final[Mapping[Runtime, str]] = {
    Runtime.TFLITE: "tflite-runtime",
    Runtime.LITERT: "ai-edge-litert",
    Runtime.ONNX: "onnxruntime",
}
_FORMATS: Final[Mapping[Format, frozenset[str]]] = {
    Format.TFLITE: frozenset({Runtime.TFLITE, Runtime.LITERT}),
    Format.ONNX: frozenset({Runtime.ONNX}),
}


def available() -> dict[str, str]:
    """Return the installed runtimes and their versions, without importing any."""
    versions = {runtime: packages.version(package) for runtime, package in PACKAGES.items()}
    return {runtime: version for runtime, version in versions.items() if version is not None}


def choose(
    format_: Format,
    wanted: Mapping[str, str],
    found: Mapping[str, str],
    *,
    runtime: str | None = None,
    prefer: Sequence[str] = (),
) -> str:
    """Return the runtime to use: `runtime` if it is named, else the first of `prefer` that is wanted, here and new enough.

    `wanted` and `found` map runtime names to versions (the least one, the installed one). MachineLacks says what to
    install; WrongUse, that the bundle was never proven on the named runtime.
    """
    runnable = {name: least for name, least in wanted.items() if name in _FORMATS[format_]}
    if not runnable:
        raise BundleRefused(
            Reason.WRONG_RUNTIME, f"no runtime of {', '.join(sorted(wanted))} reads a {format_} artifact"
        )
    if runtime is not None and runtime not in runnable:
        raise WrongUse(f"runtime {runtime!r}: the bundle was built for {', '.join(sorted(runnable))}")
    ranked = [runtime] if runtime is not None else [name for name in (*prefer, *runnable) if name in runnable]
    for name in ranked:
        if name in found and version_key(found[name]) >= version_key(runnable[name]):
            return name
    needs = " or ".join(f"{name} >= {least}" for name, least in runnable.items() if name in ranked)
    has = ", ".join(f"{name} {found[name]}" for name in found) or "none"
    raise MachineLacks(f"bundle needs {needs}, this machine has {has}; install sprat-device[{ranked[0]}]")


def load(runtime: str, artifact: Path, *, threads: int = 1, settings: RuntimeSettings | None = None) -> RawSession:
    """Open an artifact with one runtime, by all settings or with so many threads; each runtime takes what is its own."""
    settings = settings or RuntimeSettings(threads=threads)
    if settings.threads < 1:
        raise WrongUse(f"threads: found {settings.threads}, expected 1 or more")
    return _module(runtime).load(artifact, settings)


def warm(runtime: str) -> None:
    """Import a runtime's package ahead of its use."""
    _module(runtime).library()


def _module(runtime: str) -> RuntimeModule:
    return cast("RuntimeModule", importlib.import_module(f"sprat_device.inference.runtimes.{Runtime(runtime)}"))


def version_key(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparison (`2.14.0rc1` -> 2, 14, 0)."""
    leading = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in leading[0].split(".")] if leading else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
