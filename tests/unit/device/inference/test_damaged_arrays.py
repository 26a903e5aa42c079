"""Damaged array files, byte by byte: every reader of them says so in one line and raises nothing else."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sprat_device.contract.errors import WrongUse
from sprat_device.inference.batch import stored
from sprat_device.inference.sources import replay

READERS: dict[str, Callable[[Path], Any]] = {
    "batch": lambda path: list((stored.npz if path.suffix == ".npz" else stored.npy)(path, ["x"], 100)),
    "replay": lambda path: replay.load(path, {"x": np.dtype("float64")}),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_damage_is_one_kind_of_error(tmp_path: Path, reader: str, suffix: str) -> None:
    rows = np.arange(900.0).reshape(300, 3)
    path = tmp_path / f"rows{suffix}"
    np.savez_compressed(path, x=rows) if suffix == ".npz" else np.save(path, rows)
    whole = path.read_bytes()
    dice = random.Random(1)  # noqa: S311 - where to damage
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        # The header more often than its share: that is what numpy reads as Python.
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(200 if dice.random() < 0.6 else len(whole))] = dice.randrange(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of odd escapes in a header
            refused += _refused(reader, path)
    assert refused > 50


def _refused(reader: str, path: Path) -> bool:
    try:
        READERS[reader](path)
    except WrongUse:
        return True
    return False
