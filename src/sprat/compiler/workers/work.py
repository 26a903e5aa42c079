"""What one job in the worker process is given and gives back; plain data, so that it crosses the pipe as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.spec.factory import Part
from sprat.errors import SpratError
from sprat_device.contract import arrays

MAX_DATA: Final = 8 * 1024**3
SAVED_MODEL: Final = "source"
UNROLLED: Final = "source-unrolled"
"""The same model with its recurrent layers written out step by step, where it has any."""
PICKLE: Final = "source.pickle"
RESEARCH: Final = "research.npz"
DATA: Final = "data.npz"
"""The split data that the build puts into the job folder."""


@dataclass(frozen=True, slots=True)
class Work:
    """One build's common facts: where its files lie and what the recipe says of the source."""

    folder: str
    framework: str
    task: str
    model: str
    factory: str = ""
    given: str = ""
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    input_names: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    """Outputs that are the answer, in order; empty means all but the embedding, by name."""
    embedding: str = ""
    """A layer of a Keras model, or an output, that a device compares and that is no part of the answer."""
    stream: str = ""
    """How a sequence's answer comes from those of its readings; empty where a row is one reading."""
    missing: tuple[str, ...] = ()
    """Inputs whose readings may hold NaN, which the model fills itself."""
    augment: str = ""
    """The factory's function that adds rows to the training part."""

    @property
    def path(self) -> Path:
        """Return the job folder: training writes into it; conversions only read it, side by side or on a copy elsewhere."""
        return Path(self.folder)

    def parts(self) -> dict[str, Part]:
        """Read the split data that the build wrote."""
        flat = arrays.parse((self.path / DATA).read_bytes(), max_bytes=MAX_DATA)
        names = {name.split("/", 1)[0] for name in flat}
        return {
            part: Part({name: flat[f"{part}/input/{name}"] for name in self.input_names}, flat[f"{part}/labels"])
            for part in names
        }


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One input or output of a lowered artifact, as its file says."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0


class NotNeeded(SpratError):
    """A scheme has nothing to do for this model; the message says why."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a scheme made: the bytes and what they say of themselves, with the converter's options."""

    artifact: bytes
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    options: Mapping[str, Any]
    ops: tuple[str, ...] = ()
    quantized: int = -1
    """How many tensors hold fewer bits than float32; -1 where the format's reader does not count them."""


def write_parts(folder: Path, parts: Mapping[str, Part]) -> None:
    """Write the split data for the worker."""
    flat: dict[str, npt.NDArray[Any]] = {}
    for name, part in parts.items():
        flat |= {f"{name}/input/{key}": np.asarray(array) for key, array in part.inputs.items()}
        flat[f"{name}/labels"] = np.asarray(part.labels)
    (folder / DATA).write_bytes(arrays.dump(flat))
