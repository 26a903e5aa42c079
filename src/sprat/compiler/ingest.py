"""From a table to disjoint parts: the columns that the recipe names, checked, split and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler.factory import Part
from sprat.compiler.recipe import InputSpec, Recipe
from sprat.data import labels as label_sets
from sprat.data import quality, split
from sprat.data.snapshot import content_digest
from sprat.data.table import Table, column
from sprat.errors import RecipeError
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Ingested:
    """The parts with what is known of them: hashes, findings, and the range of each input in the training rows."""

    parts: Mapping[str, Part]
    sha256: str
    part_digests: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]
    findings: tuple[str, ...]


def ingest(table: Table, recipe: Recipe) -> Ingested:
    """Pick, check and split; RecipeError names the column that is missing or wrong."""
    inputs = {spec.name: _input(table, spec, recipe) for spec in recipe.inputs}
    truth = _labels(table, recipe)
    lengths = {len(truth), *(len(array) for array in inputs.values())}
    if len(lengths) != 1:
        raise RecipeError(f"data: inputs and labels have {sorted(lengths)} rows, expected one number")
    classes = truth if recipe.task is Task.CLASSIFICATION else None
    rows = split.split(inputs, classes, plan=recipe.data.split)
    digests = split.row_digests(inputs)
    findings = [finding.sentence for finding in quality.examine({k: table[k] for k in _used(recipe)})]
    if classes is not None:
        findings += [finding.sentence for finding in quality.balance(truth, recipe.labels)]
    if shared := split.shared_rows(rows, digests):
        findings.append(f"{shared} rows have an exact copy in another part of the split")
    parts = {
        name: Part({key: array[part] for key, array in inputs.items()}, truth[part]) for name, part in rows.items()
    }
    return Ingested(
        parts=parts,
        sha256=content_digest(table),
        part_digests={name: split.part_digest(part, digests) for name, part in rows.items()},
        ranges={spec.name: _range(spec, parts["train"].inputs[spec.name]) for spec in recipe.inputs},
        findings=tuple(findings),
    )


def _used(recipe: Recipe) -> list[str]:
    return [name for spec in recipe.inputs for name in (spec.features or (spec.column,))]


def _input(table: Table, spec: InputSpec, recipe: Recipe) -> Array:
    """Stack the features of a tabular input as float64, or take one array column as it is."""
    asked_by = recipe.place(("inputs", spec.name, "features" if spec.features else "column"))
    if spec.features:
        columns = [column(table, name, asked_by=asked_by) for name in spec.features]
        for name, values in zip(spec.features, columns, strict=True):
            _require_numbers(values, name)
            if values.ndim != 1:
                raise RecipeError(
                    f"{asked_by}: feature {name!r} has shape {list(values.shape)}, expected one number a row"
                )
        array: Array = np.stack([np.asarray(values, np.float64) for values in columns], axis=1)
    else:
        array = column(table, spec.column, asked_by=asked_by)
        _require_numbers(array, spec.column)
        array = array.reshape(len(array), -1) if array.ndim == 1 else array
    if spec.minimum < spec.maximum and (array.min() < spec.minimum or array.max() > spec.maximum):
        raise RecipeError(
            f"{asked_by}: the data goes from {array.min():g} to {array.max():g}, "
            f"the recipe says {spec.minimum:g} to {spec.maximum:g}"
        )
    return array


def _require_numbers(values: Array, name: str) -> None:
    if values.dtype.kind not in "biuf":
        raise RecipeError(f"data: column {name!r} holds text such as {str(values[0])[:40]!r}, expected numbers")
    if bad := int(np.sum(~np.isfinite(values))):
        raise RecipeError(f"data: column {name!r} has {bad} missing values; fill them or leave these rows out")


def _labels(table: Table, recipe: Recipe) -> Array:
    values = column(table, recipe.data.label, asked_by=recipe.place(("data", "label")))
    if recipe.task is Task.CLASSIFICATION:
        return label_sets.encode(values, recipe.labels)
    _require_numbers(values, recipe.data.label)
    return np.asarray(values, np.float64).reshape(len(values), -1)


def _range(spec: InputSpec, rows: Array) -> tuple[float, float]:
    return (spec.minimum, spec.maximum) if spec.minimum < spec.maximum else (float(rows.min()), float(rows.max()))
