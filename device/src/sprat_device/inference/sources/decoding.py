"""From what came to the arrays of a model's inputs: JSON, comma-separated cells, records of one size, files.

A document names inputs, or fields: the model's features, or the channels of a window. What cannot be read raises
Unreadable with its reason; it never becomes a prediction.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sprat_device.contract.phases import Reason
from sprat_device.inference.sources import pixels
from sprat_device.inference.sources.item import Item, Unreadable
from sprat_device.inference.sources.reading import as_declared, parsed
from sprat_device.inference.sources.splitting import MOST_RECORD

Arrays = Mapping[str, npt.NDArray[Any]]
_SHOWN: Final = 60
_MOST_TIME_S: Final = 1e12
"""Beyond it a float has no milliseconds left, so it is no time in seconds."""


class Decoded(NamedTuple):
    """Arrays by input, and the time that came with them, in seconds."""

    inputs: Arrays
    at_s: float | None = None


Decode = Callable[[Item], Decoded | None]
"""None says that there was nothing to read: a header."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is to be made of a document."""

    wanted: Mapping[str, np.dtype[Any]]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Input -> the names of its last axis."""
    missing_allowed: frozenset[str] = frozenset()
    """Inputs whose missing values the model fills."""
    time_field: str = ""
    columns: tuple[str, ...] = ()
    """Names of the cells of a line that has no header."""

    def names(self) -> tuple[str, ...]:
        """Return the names of a line's cells: those given, else the time and all fields in their order."""
        own = tuple(name for names in self.fields.values() for name in names)
        return self.columns or ((self.time_field, *own) if self.time_field else own)


def json_decoder(layout: Layout) -> Decode:
    """Return what reads a JSON document."""

    def decode(item: Item) -> Decoded:
        try:
            document = json.loads(item.payload)
        except (ValueError, RecursionError) as exc:
            raise Unreadable(f"not JSON: {_beginning(item.payload)}") from exc
        return of_document(document, layout)

    return decode


def of_document(document: object, layout: Layout) -> Decoded:
    """Return the arrays of a document: by input, by field, or the bare values of an only input."""
    at_s = None
    if isinstance(document, Mapping):
        at_s = _time(document.get(layout.time_field)) if layout.time_field else None
        if not document.keys() & layout.wanted.keys():
            document = {name: _by_field(document, name, layout) for name in layout.wanted if name in layout.fields}
    return Decoded(of_values(document, layout.wanted).inputs, at_s)


def _by_field(document: Mapping[str, object], name: str, layout: Layout) -> list[object]:
    if name not in layout.missing_allowed:
        for key in layout.fields[name]:
            if key not in document:
                raise Unreadable(f"{key!r} is missing", Reason.INPUT_MISSING)
    return [document.get(key) for key in layout.fields[name]]


def _time(value: object) -> float:
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -_MOST_TIME_S < value < _MOST_TIME_S:
        return float(value)
    raise Unreadable(f"time {value!r:.40}, expected seconds")


def csv_decoder(layout: Layout) -> Decode:
    """Return what reads a line of cells; a line that holds the names is a header, and orders those that follow."""
    order = list(layout.names())
    if not order:
        raise Unreadable("the model names no features; set columns, or use another format")
    needed = {name for names in layout.fields.values() for name in names}

    def decode(item: Item) -> Decoded | None:
        nonlocal order
        cells = _cells(item.payload)
        if needed <= set(cells):
            order = cells
            return None
        if len(cells) != len(order):
            raise Unreadable(f"{len(cells)} cells, expected {len(order)}: {_beginning(item.payload)}")
        found = dict(zip(order, cells, strict=True))
        at_s = _time(found.get(layout.time_field)) if layout.time_field else None
        return Decoded({name: _row(found, name, layout) for name in layout.fields}, at_s)

    return decode


def _cells(line: bytes) -> list[str]:
    try:
        (cells,) = csv.reader([line.decode("utf-8").strip()], skipinitialspace=True)
    except (UnicodeDecodeError, ValueError, csv.Error) as exc:
        raise Unreadable(f"no line of cells: {_beginning(line)}") from exc
    return [cell.strip() for cell in cells]


def _row(found: Mapping[str, str], name: str, layout: Layout) -> npt.NDArray[Any]:
    cells = [found.get(key, "") for key in layout.fields[name]]
    dtype = layout.wanted[name]
    if dtype.kind == "U":
        return np.array(cells, np.str_)
    numbers = [_number(cell) for cell in cells]
    exact = np.array(numbers) if dtype.kind == "f" else np.array([int(n) if n.is_integer() else n for n in numbers])
    declared = as_declared(exact, dtype)
    return exact if declared is None else declared


def _number(cell: str) -> float:
    if not cell:
        return math.nan
    try:
        return float(cell)
    except ValueError as exc:
        raise Unreadable(f"{cell[:_SHOWN]!r} is no number") from exc


@dataclass(frozen=True, slots=True)
class Record:
    """A record of one size: an array of one dtype and shape, or a camera's frame."""

    input: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pixels: str = ""

    @property
    def size(self) -> int:
        """Return its bytes."""
        if self.pixels:
            return pixels.frame_bytes(self.pixels, self.shape[1], self.shape[0])
        return self.dtype.itemsize * math.prod(self.shape)

    def array(self, payload: bytes) -> npt.NDArray[Any]:
        """Return it as an array, or raise Unreadable."""
        if len(payload) != self.size:
            raise Unreadable(f"{len(payload)} bytes, expected {self.size}", Reason.INPUT_SHAPE)
        if self.pixels:
            return pixels.as_image(payload, self.pixels, self.shape[1], self.shape[0])
        return np.frombuffer(payload, self.dtype).reshape(self.shape)


def raw_decoder(record: Record) -> Decode:
    """Return what reads records of one size, little-endian as the boards are."""
    return lambda item: Decoded({record.input: record.array(item.payload)})


def file_decoder(layout: Layout, record: Record | None) -> Decode:
    """Return what reads a whole file by its suffix."""
    by_suffix: dict[str, Decode] = {".json": json_decoder(layout), ".npy": _arrays(layout), ".npz": _arrays(layout)}
    if len(layout.wanted) == 1:
        by_suffix |= dict.fromkeys((".ppm", ".pgm"), _portable(next(iter(layout.wanted))))
    if record is not None:
        by_suffix |= dict.fromkeys((".raw", ".bin"), raw_decoder(record))

    def decode(item: Item) -> Decoded | None:
        reader = by_suffix.get(item.form)
        if reader is None:
            raise Unreadable(f"{item.form} is read only with pixels, or dtype and shape, for an only input")
        return reader(item)

    return decode


def _portable(name: str) -> Decode:
    def decode(item: Item) -> Decoded:
        try:
            return Decoded({name: pixels.as_portable(item.payload)})
        except ValueError as exc:
            raise Unreadable(f"no image: {exc}") from exc

    return decode


def _arrays(layout: Layout) -> Decode:
    def decode(item: Item) -> Decoded:
        try:
            _require_bounded(item.payload)
            found = np.load(io.BytesIO(item.payload), allow_pickle=False)
            values = found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
        except Unreadable:
            raise
        # Damage comes as whatever zlib, zipfile, numpy or Python's own tokenizer raises, a claimed size as MemoryError.
        except Exception as exc:
            raise Unreadable(f"not a plain {item.form} file ({exc})"[:200]) from exc
        return of_values(values, layout.wanted)

    return decode


def _require_bounded(payload: bytes) -> None:
    """Refuse an archive that a few KiB of zeros could fill a board's memory with."""
    if not payload.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_RECORD:  # no more is read of an entry than it claims to hold
        raise Unreadable(f"{size >> 20} MiB when unpacked, at most {MOST_RECORD >> 20} are read")


def value_decoder(layout: Layout) -> Decode:
    """Return what takes values as they are: a mapping by input or field, or those of an only input."""

    def decode(item: Item) -> Decoded:
        values = item.values
        try:
            return of_document(values, layout) if isinstance(values, Mapping) else of_values(values, layout.wanted)
        except Unreadable:
            raise
        except Exception as exc:  # values of a plug-in are code too: what they do when they are looked at is theirs
            raise Unreadable(f"no array can be made of it: {type(exc).__name__}: {exc}"[:200]) from exc

    return decode


def of_values(values: object, wanted: Mapping[str, np.dtype[Any]]) -> Decoded:
    """Return arrays by input, or those of an only input."""
    try:
        return Decoded(parsed(values, wanted))
    except OverflowError as exc:  # a whole number of hundreds of digits
        raise Unreadable("a number that no float holds", Reason.INPUT_RANGE) from exc
    except (TypeError, ValueError) as exc:  # a plug-in may give anything
        raise Unreadable(f"no array can be made of it: {exc}"[:200]) from exc


def _beginning(payload: bytes | Sequence[int]) -> str:
    return repr(bytes(payload[:_SHOWN]).decode("utf-8", "replace"))
