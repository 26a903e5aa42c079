"""What every runtime looks like from the outside: a raw session over named tensors, and its way to fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.errors import BundleRefused, SpratError
from sprat_device.contract.phases import Reason

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class RawTensor:
    """What a runtime says of one input or output; -1 is a dimension that it leaves open, scale 0 is not quantized."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    alias: str = ""
    """The name in the artifact's signature, where the tensor has another one of its own."""


class RawSession(Protocol):
    """A loaded artifact; `run` takes and gives arrays with the batch axis, by the tensors' own names."""

    version: str
    inputs: tuple[RawTensor, ...]
    outputs: tuple[RawTensor, ...]

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[Any]]:
        """Run once, or raise RunFailed."""
        ...

    def clear(self) -> None:
        """Empty the kernels' own memory; variables of the graph keep what they hold."""
        ...

    def restart(self) -> None:
        """Forget all that earlier runs left behind."""
        ...


class RuntimeModule(Protocol):
    """What each runtime's module offers."""

    def load(self, artifact: Path, settings: RuntimeSettings) -> RawSession:
        """Load one artifact; MachineLacks for a setting that the runtime cannot follow."""
        ...

    def library(self) -> Any:
        """Import the runtime's package, or say what to install."""
        ...


class RunFailed(SpratError):
    """The runtime raised while it ran a loaded artifact."""

    exit_code: ClassVar[int] = 1


def not_loadable(runtime: str, version: str, exc: BaseException) -> BundleRefused:
    """Make the refusal of an artifact that a runtime cannot load."""
    said = " ".join(str(exc).split())[:300]
    return BundleRefused(Reason.NOT_LOADED, f"{runtime} {version} cannot load the artifact: {said}")


def run_failed(runtime: str, exc: BaseException) -> RunFailed:
    """Make the error of an artifact that loads but does not run."""
    return RunFailed(f"{runtime} failed while running: {' '.join(str(exc).split())[:300]}")


def dtype_name(dtype: object) -> str:
    """Return a numpy dtype as the manifest names it."""
    plain: np.dtype[Any] = np.dtype(dtype)  # type: ignore[call-overload]
    return "string" if plain.kind in "SUO" else str(plain.name)
