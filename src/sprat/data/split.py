"""Splits: train, calibration, validation and test rows; disjoint, seeded, and proved so by hashes.

`stratified` keeps the share of each class, `random` keeps nothing; with both, rows of equal content go to one part
together, else a copy of a training row would count as a test. `groups` keeps all rows of one group (a subject, a device)
in one part. `time` sorts by a column and tests on the newest rows, `ordered` takes the rows as they stand for sorted, and
`blocks` deals contiguous stretches of a series out. Where these tear equal rows apart, `shared_rows` counts them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.errors import RecipeError

Rows = npt.NDArray[np.int64]
PARTS: Final = ("train", "calibration", "validation", "test")
METHODS: Final = ("stratified", "random", "ordered", "blocks", "groups", "time")
BY: Final = frozenset({"groups", "time"})
"""Methods that need a column to split by."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split: the method, its seed and the share of each part (they sum to 1)."""

    method: str = "stratified"
    seed: int = 0
    shares: tuple[float, float, float, float] = (0.6, 0.1, 0.1, 0.2)
    block_rows: int = 16
    by: str = ""
    """The column of `groups` and `time`."""


def split(
    inputs: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[Any] | None,
    *,
    plan: SplitPlan,
    by: npt.NDArray[Any] | None = None,
    digests: Sequence[bytes] = (),
) -> dict[str, Rows]:
    """Return the rows of each part, sorted; RecipeError where a part would get none.

    `labels` are class positions, needed by `stratified` only. `by` has one value a row: the group of `groups` (any
    kind), the time of `time` (numbers). `digests` are those of the rows, where the caller has them already.
    """
    count = len(next(iter(inputs.values())))
    digests = digests or row_digests(inputs)
    rng = np.random.default_rng(plan.seed)
    order = np.arange(count)
    match plan.method:
        case "ordered":
            parts = _cut([order], plan.shares)
        case "blocks":
            blocks = [order[start : start + plan.block_rows] for start in range(0, count, plan.block_rows)]
            parts = _cut([blocks[i] for i in rng.permutation(len(blocks))], plan.shares)
        case "groups":
            parts = _deal_groups(_required(by, plan), rng, plan)
        case "time":
            parts = _cut_times(_required(by, plan), plan)
        case "stratified" if labels is not None:
            parts = _deal([rng.permutation(order[labels == value]) for value in np.unique(labels)], digests, plan)
        case _:
            parts = _deal([rng.permutation(order)], digests, plan)
    rows = {name: np.sort(part) for name, part in zip(PARTS, parts, strict=True)}
    for name, part in rows.items():
        if len(part) == 0:
            different = len(set(digests))
            copies = f", {different} of them different" if different < count else ""
            raise RecipeError(f"data.split: {name} got no row of {count}{copies}; raise its share or bring more data")
    return rows


def row_digests(inputs: Mapping[str, npt.NDArray[Any]]) -> list[bytes]:
    """Return a short hash of each row over all inputs."""
    flat = [np.ascontiguousarray(inputs[name]).reshape(len(inputs[name]), -1) for name in sorted(inputs)]
    return [
        hashlib.sha256(b"\0".join(array[i].tobytes() for array in flat)).digest()[:16]
        for i in range(len(flat[0]))
    ]  # fmt: skip


def group_digests(by: npt.NDArray[Any]) -> list[bytes]:
    """Return a short hash of each row's group: by these, `shared_rows` proves that no group is in two parts."""
    return row_digests({"group": by})


def shared_rows(rows: Mapping[str, Rows], digests: Sequence[bytes]) -> int:
    """Return how many rows of one part have a copy in another: 0 proves that the parts are disjoint."""
    owner: dict[bytes, str] = {}
    torn: set[bytes] = set()
    for name, part in rows.items():
        for row in part:
            if owner.setdefault(digests[row], name) != name:
                torn.add(digests[row])
    return sum(digests[row] in torn for part in rows.values() for row in part) if torn else 0


def part_digest(part: Rows, digests: Sequence[bytes]) -> str:
    """Return the SHA-256 of one part's content, whatever the order of its rows."""
    return hashlib.sha256(b"".join(sorted(digests[row] for row in part))).hexdigest()


def _cut(pieces: list[Rows], shares: tuple[float, ...]) -> list[Rows]:
    """Cut the joined pieces where the shares end."""
    joined = np.concatenate(pieces)
    return list(np.split(joined, np.round(np.cumsum(shares)[:-1] * len(joined)).astype(int)))


def _deal(groups: list[Rows], digests: Sequence[bytes], plan: SplitPlan) -> list[Rows]:
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


def _required(by: npt.NDArray[Any] | None, plan: SplitPlan) -> npt.NDArray[Any]:
    if by is None or by.ndim != 1 or (by.dtype.kind == "f" and not np.all(np.isfinite(by))):
        raise RecipeError(f"data.split.by: column {plan.by!r} must have one value in each row, none missing")
    return by


def _deal_groups(by: npt.NDArray[Any], rng: np.random.Generator, plan: SplitPlan) -> list[Rows]:
    """Deal whole groups out, each to the part that lacks most rows of its share; no part stays empty."""
    values, group_of, sizes = np.unique(by, return_inverse=True, return_counts=True)
    if len(values) < len(PARTS):
        raise RecipeError(
            f"data.split.by: column {plan.by!r} has {len(values)} groups, {len(PARTS)} parts need at least as many"
        )
    wanted = np.asarray(plan.shares) * len(by)
    part_of = np.zeros(len(values), np.int64)
    filled = np.zeros(len(PARTS))
    for dealt, group in enumerate(rng.permutation(len(values))):
        lacking = wanted - filled
        if np.sum(filled == 0) == len(values) - dealt:  # as many groups are left as parts are empty
            lacking[filled > 0] = -np.inf
        part_of[group] = np.argmax(lacking)
        filled[part_of[group]] += sizes[group]
    return [np.flatnonzero(part_of[group_of] == part) for part in range(len(PARTS))]


def _cut_times(by: npt.NDArray[Any], plan: SplitPlan) -> list[Rows]:
    """Cut by time, the oldest rows first; rows of one moment stay together, in the later part."""
    order = np.argsort(by, kind="stable")
    moments = by[order]
    ends = np.round(np.cumsum(plan.shares)[:-1] * len(order)).astype(int)
    ends = np.searchsorted(moments, moments[np.minimum(ends, len(order) - 1)], side="left")
    return list(np.split(order, ends))
