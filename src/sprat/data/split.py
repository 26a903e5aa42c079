"""Splits: train, calibration, validation and test rows; disjoint, seeded, and proved so by hashes.

`ordered` keeps time (the newest rows are the test set), `blocks` deals contiguous stretches of a series to the splits,
`stratified` keeps the share of each class, `random` keeps nothing. Rows with equal content go to one split together,
else a copy of a training row would count as a test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import RecipeError

Rows = npt.NDArray[np.int64]
PARTS: Final = ("train", "calibration", "validation", "test")
METHODS: Final = ("stratified", "random", "ordered", "blocks")


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split: the method, its seed and the share of each part (they sum to 1)."""

    method: str = "stratified"
    seed: int = 0
    shares: tuple[float, float, float, float] = (0.6, 0.1, 0.1, 0.2)
    block_rows: int = 16


def split(
    inputs: Mapping[str, npt.NDArray[Any]], labels: npt.NDArray[Any] | None, *, plan: SplitPlan
) -> dict[str, Rows]:
    """Return the rows of each part, sorted; `labels` are class positions, needed by `stratified` only."""
    count = len(next(iter(inputs.values())))
    digests = row_digests(inputs)
    rng = np.random.default_rng(plan.seed)
    order = np.arange(count)
    match plan.method:
        case "ordered":
            parts = _cut([order], plan.shares)
        case "blocks":
            blocks = [order[start : start + plan.block_rows] for start in range(0, count, plan.block_rows)]
            parts = _cut([blocks[i] for i in rng.permutation(len(blocks))], plan.shares)
        case "stratified" if labels is not None:
            parts = _deal([rng.permutation(order[labels == value]) for value in np.unique(labels)], digests, plan)
        case _:
            parts = _deal([rng.permutation(order)], digests, plan)
    rows = {name: np.sort(part) for name, part in zip(PARTS, parts, strict=True)}
    for name, part in rows.items():
        if len(part) == 0:
            raise RecipeError(f"data.split: {name} got no row of {count}; raise its share or bring more data")
    return rows


def row_digests(inputs: Mapping[str, npt.NDArray[Any]]) -> list[bytes]:
    """Return a short hash of each row over all inputs."""
    flat = [np.ascontiguousarray(inputs[name]).reshape(len(inputs[name]), -1) for name in sorted(inputs)]
    return [
        hashlib.sha256(b"\0".join(array[i].tobytes() for array in flat)).digest()[:16]
        for i in range(len(flat[0]))
    ]  # fmt: skip


def shared_rows(rows: Mapping[str, Rows], digests: list[bytes]) -> int:
    """Return how many rows of one part have a copy in another: 0 proves that the parts are disjoint."""
    owner: dict[bytes, set[str]] = {}
    for name, part in rows.items():
        for row in part:
            owner.setdefault(digests[row], set()).add(name)
    return sum(len(owner[digests[row]]) > 1 for part in rows.values() for row in part)


def part_digest(part: Rows, digests: list[bytes]) -> str:
    """Return the SHA-256 of one part's content, whatever the order of its rows."""
    return hashlib.sha256(b"".join(sorted(digests[row] for row in part))).hexdigest()


def _cut(pieces: list[Rows], shares: tuple[float, ...]) -> list[Rows]:
    """Cut the joined pieces where the shares end."""
    joined = np.concatenate(pieces)
    return list(np.split(joined, np.round(np.cumsum(shares)[:-1] * len(joined)).astype(int)))


def _deal(groups: list[Rows], digests: list[bytes], plan: SplitPlan) -> list[Rows]:
    """Deal the rows of each group out by the shares; copies of a row follow the first of them."""
    chosen: dict[bytes, int] = {}
    shares = np.asarray(plan.shares)
    dealt: list[list[int]] = [[] for _ in PARTS]
    for group in groups:
        filled = np.zeros(len(PARTS))
        for taken, row in enumerate(group, 1):
            part = chosen.setdefault(digests[row], int(np.argmax(shares * taken - filled)))
            filled[part] += 1
            dealt[part].append(int(row))
    return [np.asarray(rows, np.int64) for rows in dealt]
