"""Batch files: inputs from `.npz`, `.npy` or `.csv`, answers to `.csv`, `.json` or `.npz`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import arrays as contract_arrays
from sprat_device.contract.errors import WrongUse, did_you_mean
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference.sources import replay
from sprat_device.inference.sources.reading import dtypes
from sprat_device.inference.tensors import reading_dtype


@dataclass(frozen=True, slots=True)
class Row:
    """One row's answer, or the reason why there is none."""

    label: int = NO_LABEL
    name: str = ""
    outputs: tuple[float, ...] = ()
    reason: str = ""


Writer = Callable[[Path, Sequence[Row]], None]


def read(path: Path, manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """Read the inputs of a model, each array [rows, ...]."""
    if path.suffix == ".csv":
        return _read_csv(path, manifest)
    return replay.load(path, dtypes(manifest))


def writer(path: Path, *, raw: bool) -> Writer:
    """Return what writes answers to a file of this kind; asked for before the work, so that a typo costs nothing."""
    if path.suffix not in _WRITERS or (raw and path.suffix != ".npz"):
        expected = ".npz" if raw else ", ".join(_WRITERS)
        raise WrongUse(f"--output {path}: expected a name that ends in {expected}")
    return _WRITERS[path.suffix]


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name as `.npz`; a half-written file never stands under `path`."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(contract_arrays.dump(arrays))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_csv(path: Path, manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise WrongUse(f"{path}: cannot be read as CSV ({exc})") from exc
    uneven = next((place for place, row in enumerate(rows) if len(row) != len(header)), None)
    if not rows or uneven is not None:
        where = "no rows" if uneven is None else f"row {uneven} has {len(rows[uneven])} cells"
        raise WrongUse(f"{path}: {where}, expected rows of {len(header)} cells below a line of names")
    columns = {name.strip(): [row[place] for row in rows] for place, name in enumerate(header)}
    return {spec.name: _input(spec, columns, path) for spec in manifest.inputs}


def _input(spec: TensorSpec, columns: Mapping[str, list[str]], path: Path) -> npt.NDArray[Any]:
    names = spec.features or (spec.name,)
    for name in names:
        if name not in columns:
            raise WrongUse(f"{path}: column {name!r} is missing{did_you_mean(name, columns)}")
    try:
        cells = [[_cell(text, spec) for text in columns[name]] for name in names]
        table = np.array(cells, dtype=reading_dtype(spec)).T
        return table.reshape(-1, *spec.shape[1:])
    except ValueError as exc:
        raise WrongUse(f"{path}: input {spec.name!r} of shape {list(spec.shape[1:])}: {exc}") from exc


def _cell(text: str, spec: TensorSpec) -> str | float | int:
    if spec.dtype == "string":
        return text
    if reading_dtype(spec).kind in "iu":
        return int(text)
    # An empty cell is a missing value: not finite, so the session names it.
    return float(text) if text.strip() else float("nan")


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    width = max((len(row.outputs) for row in rows), default=0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["row", "label", "name", *(f"output_{place}" for place in range(width)), "reason"])
        for number, row in enumerate(rows):
            filled = [*row.outputs, *[""] * (width - len(row.outputs))]
            table.writerow([number, row.label, row.name, *filled, row.reason])


def _write_json(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def _write_npz(path: Path, rows: Sequence[Row]) -> None:
    width = max((len(row.outputs) for row in rows), default=0)
    outputs = np.full((len(rows), width), np.nan, np.float32)
    for place, row in enumerate(rows):
        outputs[place, : len(row.outputs)] = row.outputs
    write_arrays(
        path,
        {
            "label": np.array([row.label for row in rows], np.int64),
            "name": np.array([row.name for row in rows], np.str_),
            "outputs": outputs,
            "reason": np.array([str(row.reason) for row in rows], np.str_),
        },
    )


_WRITERS: Final[Mapping[str, Writer]] = {".csv": _write_csv, ".json": _write_json, ".npz": _write_npz}
