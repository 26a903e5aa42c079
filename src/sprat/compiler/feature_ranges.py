"""The range of each feature in the training rows, by which a device refuses one in a wrong unit beside larger ones."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.spec.preprocess_plan import Steps
from sprat.compiler.spec.recipe import InputSpec
from sprat_device.contract import preprocess
from sprat_device.contract.manifest import Task

Ranges = tuple[tuple[float, ...], tuple[float, ...]]
"""The least and the greatest value of each feature; the same twice where it has no range."""
NONE: Final[Ranges] = ((), ())


def feature_ranges(spec: InputSpec, rows: npt.NDArray[Any], task: Task, steps: Steps = ()) -> Ranges:
    """Return the range of each place of the last axis, or NONE where these are no features or none has a range.

    Those that the recipe states go first. It may state one for all instead; and what is far from all training rows is
    what an anomaly detector is there to tell: then there are no others. A feature of codes has none (its list is what
    is checked), nor has one without values or with only one.
    """
    found = _learned(spec, rows, task, steps)
    if not spec.ranges:
        return found
    low, high = (dict(zip(spec.features, ends, strict=False)) for ends in found)
    stated = [spec.ranges.get(name, (low.get(name, 0.0), high.get(name, 0.0))) for name in spec.features]
    return tuple(pair[0] for pair in stated), tuple(pair[1] for pair in stated)


def _learned(spec: InputSpec, rows: npt.NDArray[Any], task: Task, steps: Steps) -> Ranges:
    if spec.minimum < spec.maximum or task is Task.ANOMALY:
        return NONE
    if spec.type == "text" or rows.dtype.kind not in "iuf" or not len(rows):
        return NONE
    if not spec.features and not _has_channels(rows, steps):
        return NONE
    flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    flat[~np.isfinite(flat)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of nothing: it has no range
        low, high = np.nan_to_num(np.nanmin(flat, axis=0)), np.nan_to_num(np.nanmax(flat, axis=0))
    for place, name in enumerate(spec.features):
        if name in spec.codes:
            low[place] = high[place] = 0.0
    return tuple(low.tolist()), tuple(high.tolist())


def _has_channels(rows: npt.NDArray[Any], steps: Steps) -> bool:
    """Tell whether the last axis is that of the channels that a `window` step names."""
    window = preprocess.read(steps, "preprocess").window if steps else None
    moved = any(step["step"] == "channels-first" for step in steps)
    return window is not None and not moved and rows.ndim == 3 and rows.shape[-1] == len(window.channels)
