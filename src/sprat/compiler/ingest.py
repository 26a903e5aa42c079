"""From a table to disjoint parts: the columns that the recipe names, checked, split and hashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.feature_ranges import Ranges, feature_ranges
from sprat.compiler.proof import data_gates
from sprat.compiler.spec import preprocess_plan
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.recipe import InputSpec, Recipe
from sprat.data import labels as label_sets
from sprat.data import quality, split
from sprat.data.quality import Finding, Severity
from sprat.data.quality.rows import drift
from sprat.data.snapshot import content_digest
from sprat.data.table import MISSING, Table, column
from sprat.data.times import seconds
from sprat.errors import RecipeError
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]

_MOST_CODES: Final = 1000
"""They stand in the manifest."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """The parts with what is known of them: hashes, findings, and the range of each input in the training rows."""

    parts: Mapping[str, Part]
    sha256: str
    part_digests: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]
    observations: tuple[Finding, ...]
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Input -> feature -> its type, shape and range in the training rows: what `feature-changed` compares."""
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Part -> rows, hash, and what proves it disjoint: groups with their hash, or the first and the last time."""

    feature_ranges: Mapping[str, Ranges] = field(default_factory=dict)
    """Input -> the ranges of its features in the training rows."""
    snapshot: Mapping[str, str] = field(default_factory=dict)
    """Name and hash of the snapshot that the rows came from; empty for rows from elsewhere."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Return the observations as sentences."""
        return tuple(one.sentence for one in self.observations)


def ingest(table: Table, recipe: Recipe, *, stop: bool = True) -> Ingested:
    """Pick, check and split; RecipeError names the column that is missing or wrong.

    `stop=False` is for those who only look: what no model can be made of then stands among the observations.
    """
    inputs = {spec.name: _input(table, spec, recipe) for spec in recipe.inputs}
    truth = _labels(table, recipe)
    lengths = {len(truth), *(len(array) for array in inputs.values())}
    if len(lengths) != 1:
        raise RecipeError(f"data: inputs and labels have {sorted(lengths)} rows, expected one number")
    classes = None if recipe.task is Task.REGRESSION or not recipe.data.label else truth
    used = {name: table[name] for name in _used(recipe)}
    observations = [*quality.examine(used), *_label_findings(used, inputs, truth, recipe)]
    if stop:
        _stop(observations)
    digests = split.row_digests(inputs)
    by = _split_column(table, recipe)
    rows = split.split(inputs, classes, plan=recipe.data.split, by=by, digests=digests)
    observations += quality.examine_rows(digests, classes)
    observations += quality.examine_parts(inputs, rows, digests)
    for name, column_ in used.items():
        observations += drift(name, column_[rows["train"]], column_[rows["test"]]) if column_.ndim == 1 else []
    if stop:
        _stop(observations)
    parts = {
        name: Part({key: array[part] for key, array in inputs.items()}, truth[part]) for name, part in rows.items()
    }
    _require_judgeable(parts["test"].labels, recipe)
    part_digests = {name: split.part_digest(part, digests) for name, part in rows.items()}
    return Ingested(
        parts=parts,
        sha256=content_digest(table),
        part_digests=part_digests,
        ranges={spec.name: _range(spec, parts["train"].inputs[spec.name]) for spec in recipe.inputs},
        feature_ranges={
            spec.name: feature_ranges(
                spec, parts["train"].inputs[spec.name], recipe.task, recipe.preprocess.get(spec.name, ())
            )
            for spec in recipe.inputs
        },
        observations=tuple(observations),
        features=data_gates.features(used, rows["train"], recipe),
        splits={
            name: {"rows": len(part), "sha256": part_digests[name], **_proof(part, by, recipe)}
            for name, part in rows.items()
        },
    )


def _used(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(name for spec in recipe.inputs for name in (spec.features or (spec.column,))))


def _label_findings(
    used: Mapping[str, Array], inputs: Mapping[str, Array], truth: Array, recipe: Recipe
) -> list[Finding]:
    found: list[Finding] = []
    if not recipe.data.label:
        return found
    if recipe.task is Task.CLASSIFICATION:
        found += quality.balance(truth, recipe.labels)
    elif recipe.task is Task.REGRESSION and bool(np.all(truth == truth[0])):
        found.append(
            Finding(
                recipe.data.label, quality.Code.CONSTANT, f"the label is {truth[0, 0]:g} in every row", Severity.ERROR
            )
        )
    flat = {name: column_ for name, column_ in used.items() if column_.ndim == 1}
    names = recipe.labels if recipe.task is Task.CLASSIFICATION else ()
    return found + (quality.examine_labels(flat, inputs, truth, names) if recipe.task is not Task.ANOMALY else [])


def _stop(observations: Sequence[Finding]) -> None:
    """Raise RecipeError for the first error: no model is made of data that says nothing or says it wrongly."""
    for one in observations:
        if one.severity is Severity.ERROR:
            raise RecipeError(f"data: {one.sentence} ({one.code})")


def _split_column(table: Table, recipe: Recipe) -> Array | None:
    """Return the groups of the rows, or their times as seconds, where the split goes by one."""
    plan = recipe.data.split
    if plan.method not in split.BY:
        return None
    found = column(table, plan.by, asked_by=recipe.place(("data", "split", "by")))
    return seconds(found, plan.by) if plan.method == "time" else found


def _proof(part: Array, by: Array | None, recipe: Recipe) -> dict[str, Any]:
    """Return what shows that a part shares no group, or no moment, with another."""
    if by is None:
        return {}
    mine = by[part]
    if recipe.data.split.method == "time":
        return {"from_s": float(mine.min()), "to_s": float(mine.max())}
    first = np.unique(mine, return_index=True)[1]
    return {"groups": len(first), "groups_sha256": split.part_digest(first, split.group_digests(mine))}


def _input(table: Table, spec: InputSpec, recipe: Recipe) -> Array:
    """Stack the features of a tabular input as float64 (or text), or take one array column as it is."""
    asked_by = recipe.place(("inputs", spec.name, "features" if spec.features else "column"))
    columns = [column(table, name, asked_by=asked_by) for name in spec.features or (spec.column,)]
    for name, values in zip(spec.features or (spec.column,), columns, strict=True):
        _require_kind(values, name, spec)
        if spec.features and values.ndim != 1:
            raise RecipeError(f"{asked_by}: feature {name!r} has shape {list(values.shape)}, expected one number a row")
    if spec.type == "text":
        array: Array = np.stack([values.astype(np.str_) for values in columns], axis=1) if spec.features else columns[0]
        return array.reshape(len(array), -1) if array.ndim == 1 else array
    if spec.features:
        array = np.empty((len(columns[0]), len(columns)), np.float64)
        for place, values in enumerate(columns):
            if len(values) != len(array):
                raise RecipeError(
                    f"{asked_by}: features of {len(values)} and of {len(array)} rows, expected one number"
                )
            array[:, place] = values
    else:
        array = columns[0].reshape(len(columns[0]), -1) if columns[0].ndim == 1 else columns[0]
    if steps := recipe.preprocess.get(spec.name):
        array = preprocess_plan.prepared(array, steps, spec.name)
    _require_range(array, spec, asked_by)
    _require_codes(array, spec)
    return array


def _require_codes(array: Array, spec: InputSpec) -> None:
    for place, name in enumerate(spec.features):
        if name in spec.codes and (found := len(np.unique(array[:, place]))) > _MOST_CODES:
            raise RecipeError(
                f"data: feature {name!r} has {found} different values, codes are at most {_MOST_CODES}; leave it out of codes"
            )


def _require_range(array: Array, spec: InputSpec, asked_by: str) -> None:
    for name, (least, most) in spec.ranges.items():
        column_ = array[..., spec.features.index(name)]
        low, high = np.nanmin(column_, initial=np.inf), np.nanmax(column_, initial=-np.inf)
        if low < least or high > most:
            raise RecipeError(
                f"{asked_by}: {name!r} goes from {low:g} to {high:g} in the data, the recipe says {least:g} to {most:g}"
            )
    if spec.minimum >= spec.maximum:
        return
    low, high = np.nanmin(array), np.nanmax(array)
    if low < spec.minimum or high > spec.maximum:
        raise RecipeError(
            f"{asked_by}: the data goes from {low:g} to {high:g}, the recipe says {spec.minimum:g} to {spec.maximum:g}"
        )


def _require_kind(values: Array, name: str, spec: InputSpec) -> None:
    """Refuse text where numbers are meant and the other way round, and missing values where the input keeps none."""
    if spec.type == "text":
        if values.dtype.kind not in "SU":
            raise RecipeError(f'data: column {name!r} holds numbers, input {spec.name!r} has type = "text"')
    elif spec.missing == "keep" and values.dtype.kind in "biuf":
        if bad := int(np.sum(np.isinf(values))):
            raise RecipeError(f"data: column {name!r} has {bad} infinite values; leave these rows out")
    else:
        _require_numbers(values, name)


def _require_numbers(values: Array, name: str) -> None:
    if values.dtype.kind not in "biuf":
        row = next((place for place, cell in enumerate(values.ravel()) if not _is_number(cell)), 0)
        raise RecipeError(
            f"data: column {name!r} holds text such as {str(values.ravel()[row])[:40]!r} (row {row}), expected numbers"
        )
    if bad := int(np.sum(~np.isfinite(values))):
        raise RecipeError(
            f"data: column {name!r} has {bad} missing or infinite values; fill them or leave these rows out"
        )


def _is_number(cell: object) -> bool:
    """Tell whether a cell of a column of text would have been a number or a missing value."""
    try:
        float(str(cell))
    except ValueError:
        return str(cell).strip().lower() in MISSING
    return True


def _labels(table: Table, recipe: Recipe) -> Array:
    if not recipe.data.label:
        count = len(column(table, recipe.inputs[0].column or recipe.inputs[0].features[0], asked_by="data"))
        return np.zeros((count, 1)) if recipe.task is Task.REGRESSION else np.zeros(count, np.int64)
    values = column(table, recipe.data.label, asked_by=recipe.place(("data", "label")))
    if recipe.task is not Task.REGRESSION:
        return label_sets.encode(values, recipe.labels)
    asked_by = recipe.place(("data", "more_labels"))
    names = (recipe.data.label, *recipe.data.more_labels)
    columns = [values, *(column(table, name, asked_by=asked_by) for name in names[1:])]
    for name, found in zip(names, columns, strict=True):
        _require_numbers(found, name)
    return np.concatenate([np.asarray(found, np.float64).reshape(len(found), -1) for found in columns], axis=1)


def _require_judgeable(labels: Array, recipe: Recipe) -> None:
    """Raise RecipeError where no metric of ranks is defined: it needs normal and unusual test rows."""
    if recipe.task is Task.ANOMALY and recipe.data.label and len(np.unique(labels)) < 2:
        only = recipe.labels[int(labels[0])]
        raise RecipeError(
            f"labels: all {len(labels)} test rows are {only!r}; an anomaly detector is judged by rows of both kinds"
        )


def _range(spec: InputSpec, rows: Array) -> tuple[float, float]:
    """Return the stated range, or that of the training rows and of stated features; text and columns of nothing have none (0 to 0)."""
    if spec.minimum < spec.maximum:
        return spec.minimum, spec.maximum
    if rows.dtype.kind in "SU":
        return 0.0, 0.0
    known = np.concatenate([rows[np.isfinite(rows)], *spec.ranges.values()])
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
