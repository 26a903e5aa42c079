"""What a source gives, and how plain numbers become the arrays that a model's inputs declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason
from sprat_device.inference.answers import Answer
from sprat_device.inference.tensors import reading_dtype

Inputs = Mapping[str, npt.NDArray[Any]]
_MOST_TEXT: Final = 16 * 1024 * 1024
_LISTS: Final = frozenset({list, tuple})


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one reading: an answer of a bundle, or the reason why there is none."""

    bundle: str
    release_seq: int
    labels: tuple[str, ...] = ()
    answer: Answer | None = None
    latency_us: int = 0
    reason: Reason | None = None
    detail: str = ""
    cached: bool = False
    """The answer was known from an equal input before."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why what came is no input: an event with this reason, never a prediction."""

    reason: Reason
    detail: str


class Reading(NamedTuple):
    """One input with the source's running number and its time; arrays are without the batch axis, in the unit.

    A tuple, since one is made for every reading. A source never writes into an array again once it has given it away: captures and shadows keep references.
    """

    index: int  # type: ignore[assignment]  # in place of tuple.index, which nobody asks
    mono_us: int
    wall_us: int
    inputs: Inputs
    begins: bool = False
    """The first of a new sequence, for example after a gap in the source: a stream's state is reset before it."""
    reply: Callable[[Reply], None] | None = None
    """Told what became of it, where somebody waits; it must not wait itself."""
    fault: Fault | None = None
    """Set where nothing could be made of what came; `inputs` is then empty."""
    raw: Inputs | None = None
    """What came, where `inputs` is what the bundle's pre-processing made of it."""

    @property
    def came(self) -> Inputs:
        """Return what the source gave, whether or not anything was made of it."""
        return self.inputs if self.raw is None else self.raw


@dataclass(slots=True)
class Numbers:
    """The running number of one input's readings, whatever bundle takes them."""

    following: int = 0

    def next(self) -> int:
        """Return the next one."""
        self.following += 1
        return self.following - 1


class Source(Protocol):
    """Where readings come from; what cannot be made an array is left out, and so told as missing."""

    def read(self, timeout_s: float) -> Reading | None:
        """Wait up to `timeout_s` for the next reading."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def dtypes(manifest: Manifest) -> dict[str, np.dtype[Any]]:
    """Return the dtype of each input's readings."""
    return {spec.name: reading_dtype(spec) for spec in manifest.inputs}


def as_declared(values: object, dtype: np.dtype[Any]) -> npt.NDArray[Any] | None:
    """Return values as an array of `dtype` if nothing but precision is lost, else as they are; None if they are ragged.

    ValueError for texts of which an array would fill the memory.
    """
    if isinstance(values, list | tuple):
        _require_little_text(values)
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    if array.dtype.kind == "O" and dtype.kind == "f":
        array = _with_gaps(array)
    if array.dtype == dtype or array.dtype.kind not in "biuf" or dtype.kind not in "iuf":
        return array
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large becomes infinite, which the session's check names
            return array.astype(dtype)
    bounds = np.iinfo(dtype)
    whole = array.dtype.kind in "iu" and array.size > 0 and bounds.min <= array.min() and array.max() <= bounds.max
    return array.astype(dtype) if whole else array


def _require_little_text(values: Sequence[object]) -> None:
    """Raise ValueError where an array of these, lists of lists too, would be far larger than they are.

    In an array of texts every entry takes the room of the longest, a number among them too: one long word before a hundred
    thousand numbers would take all of a board's memory.
    """
    flat, kinds = values, set(map(type, values))
    while kinds and kinds <= _LISTS:
        flat = list(chain.from_iterable(flat))  # type: ignore[arg-type]  # all of them are lists
        kinds = set(map(type, flat))
    if str in kinds:
        longest = max(len(value) for value in flat if isinstance(value, str))
        if 4 * longest * len(flat) > _MOST_TEXT:
            raise ValueError(f"{len(flat)} values beside a text of {longest} characters")


def _with_gaps(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers with NaN for each null of a JSON document; anything else as it is."""
    plain = all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in array.flat
    )
    try:
        return array.astype(np.float64) if plain else array
    except OverflowError:  # an integer of hundreds of digits: the session's check names its dtype
        return array


def parsed(document: object, wanted: Mapping[str, np.dtype[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs in a JSON document: a mapping by input name, or the bare values of an only input."""
    if not isinstance(document, Mapping):
        document = dict.fromkeys(wanted, document) if len(wanted) == 1 else {}
    arrays = {name: as_declared(document[name], dtype) for name, dtype in wanted.items() if name in document}
    return {name: array for name, array in arrays.items() if array is not None}
