"""What scripts/test-arm counts as equal: the rule that all of its verdicts on answers rest on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parents[3] / "scripts" / "arm"
NAMES = {path.stem for path in HERE.glob("*.py")}


@pytest.fixture
def distance() -> Iterator[Any]:
    """The scripts' modules have short names of their own: they leave as they came."""
    kept = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules and name != "__main__"}
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module("golden").distance
    finally:
        sys.path.remove(str(HERE))
        for name in NAMES - {"__main__"}:
            sys.modules.pop(name, None)
        sys.modules.update(kept)


INT8 = np.zeros((20, 10), np.int8)
SCORES = np.tile(np.linspace(0, 1, 10, dtype=np.float32), (20, 1))


def moved(array: Any, by: float, count: int) -> dict[str, Any]:
    """Return the outputs with the first values of a copy moved."""
    other = array.copy()
    other.reshape(-1)[:count] += by
    return {"y": other}


@pytest.mark.parametrize(
    ("array", "by", "count", "ok"),
    [
        (INT8, 0, 0, True),
        (INT8, 1, 2, True),
        (INT8, 1, 3, False),  # more than 1 % of the values
        (INT8, 2, 1, False),
        (INT8, -128, 1, False),  # int8 must not wrap around while it is compared
        (SCORES, 3e-6, 1, True),
        (SCORES, 5e-6, 1, False),
        (SCORES, np.nan, 1, False),
        (SCORES, np.inf, 1, False),
    ],
)
def test_near_enough(distance: Any, array: Any, by: float, count: int, *, ok: bool) -> None:
    assert distance({"y": array}, moved(array, by, count)).ok is ok


def test_another_label_is_a_difference_however_small(distance: Any) -> None:
    close = np.array([[0.5, 0.5000001]], np.float32)
    assert distance({"y": close}, {"y": close[:, ::-1].copy()}).ok is False


@pytest.mark.parametrize("other", [{}, {"z": INT8}, {"y": INT8[:, :9]}, {"y": INT8.astype(np.uint8)}])
def test_other_outputs_are_infinitely_far(distance: Any, other: dict[str, Any]) -> None:
    assert distance({"y": INT8}, other).ok is False
