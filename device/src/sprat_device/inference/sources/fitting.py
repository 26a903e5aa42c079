"""How one `[[inputs]]` is read for one bundle: the layout of its documents, the size of its records, its windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.preprocess import Plan, WindowStep, plan_of
from sprat_device.inference.sources import decoding
from sprat_device.inference.sources.decoding import Decode, Layout, Record
from sprat_device.inference.sources.item import Unreadable
from sprat_device.inference.sources.reading import dtypes
from sprat_device.inference.tensors import reading_dtype
from sprat_device.inference.windows import Grid, Windows

_LEAST_GAP_S: Final = 1.0
_PERIODS: Final = 10


@dataclass(slots=True)
class Windowing:
    """The windows of an only input; `grid` where its samples are put on an even grid of time."""

    input: str
    windows: Windows
    row_rank: int
    grid: Grid | None
    max_gap_s: float
    """A longer gap begins anew; 0 is no limit."""


@dataclass(frozen=True, slots=True)
class Fit:
    """All that stands between an item and a reading of one bundle."""

    decode: Decode
    windowing: Windowing | None
    record: Record | None


def fit(settings: InputSettings, manifest: Manifest) -> Fit:
    """Return how this input is read for this bundle, or WrongUse where it cannot be."""
    only = manifest.inputs[0]
    windows = _wished(settings, manifest)
    plan = plan_of(manifest.preprocess, only.name)
    channels = settings.channels or (plan.window.channels if plan.window and windows else ())
    layout = Layout(
        wanted=dtypes(manifest),
        fields={only.name: channels} if channels else {s.name: s.features for s in manifest.inputs if s.features},
        missing_allowed=frozenset(spec.name for spec in manifest.inputs if spec.missing_allowed),
        time_field=settings.time_field,
        columns=settings.columns,
    )
    record = _record(settings, manifest, windowed=windows)
    windowing = _windowing(settings, only, plan, channels) if windows else None
    try:
        return Fit(_decoder(settings, layout, record), windowing, record)
    except Unreadable as exc:
        raise WrongUse(f"{where(settings)}: {exc.detail}") from exc


def where(settings: InputSettings) -> str:
    """Return what an input is called in a sentence."""
    return f"input {settings.model}/{settings.name}" if settings.name else f"input of {settings.model}"


def _wished(settings: InputSettings, manifest: Manifest) -> bool:
    """Tell whether windows are made here: by the settings, or because the bundle declares them."""
    declared = any(plan_of(manifest.preprocess, spec.name).window for spec in manifest.inputs)
    wished = bool(settings.window or settings.window_s) or (declared and not _whole_windows(settings))
    if wished and len(manifest.inputs) != 1:
        raise WrongUse(f"{where(settings)}: windows are made for a model with one input, this one has several")
    return wished


def _whole_windows(settings: InputSettings) -> bool:
    """Tell whether a source gives whole windows: a recording of the model's inputs, or a folder with one in each file."""
    return settings.kind in ("replay", "folder")


def _decoder(settings: InputSettings, layout: Layout, record: Record | None) -> Decode:
    if settings.kind == "folder":
        return decoding.file_decoder(layout, record)
    if settings.kind in ("replay", "plugin"):
        return decoding.value_decoder(layout)
    if record is not None:
        return decoding.raw_decoder(record)
    return decoding.csv_decoder(layout) if settings.format == "csv" else decoding.json_decoder(layout)


def _record(settings: InputSettings, manifest: Manifest, *, windowed: bool) -> Record | None:
    """Return what one raw record is: a frame, or an array by the settings, else by the model's input."""
    only = manifest.inputs[0]
    if settings.pixels:
        channels = () if settings.pixels == "gray8" else (3,)
        shape: tuple[int, ...] = (settings.height, settings.width, *channels)
        record = Record(only.name, np.dtype(np.uint8), shape, settings.pixels)
    elif settings.format == "raw" or settings.dtype or settings.shape:
        dtype: np.dtype[Any] = np.dtype(settings.dtype) if settings.dtype else reading_dtype(only)
        record = Record(only.name, dtype, settings.shape or only.shape[2 if windowed else 1 :])
    else:
        return None
    if len(manifest.inputs) != 1 or only.dtype == "string":
        raise WrongUse(f"{where(settings)}: raw records are for a model with one input of numbers")
    return record


def _windowing(settings: InputSettings, spec: TensorSpec, plan: Plan, channels: tuple[str, ...]) -> Windowing:
    declared = plan.window or WindowStep(rows=0, hop=0)
    rate_hz = settings.resample_hz or (declared.rate_hz if declared.resample else 0.0)
    if rate_hz and declared.rate_hz and rate_hz != declared.rate_hz:
        raise WrongUse(
            f"{where(settings)}: resample_hz {rate_hz:g}, the model was trained with {declared.rate_hz:g} rows a second"
        )
    length = settings.window or round(settings.window_s * rate_hz) or declared.rows
    hop = settings.hop or round(settings.hop_s * rate_hz) or declared.hop or length
    row_shape = (len(channels),) if channels else spec.shape[2:]
    if not plan.steps and (length, *row_shape) != spec.shape[1:]:
        raise WrongUse(
            f"{where(settings)}: windows of {[length, *row_shape]}, the model's input {spec.name!r} is "
            f"{list(spec.shape[1:])}"
        )
    max_gap_s = settings.max_gap_s or declared.max_gap_s
    if rate_hz and not max_gap_s:
        max_gap_s = max(_LEAST_GAP_S, _PERIODS / rate_hz)
    dtype = np.dtype(np.float32) if rate_hz else reading_dtype(spec)
    grid = Grid(rate_hz, max_gap_s) if rate_hz else None
    return Windowing(spec.name, Windows(length, hop, row_shape, dtype), len(row_shape), grid, max_gap_s)
