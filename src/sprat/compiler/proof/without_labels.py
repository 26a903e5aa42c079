"""`label = ""`: a given model whose rows have no truth. Its own answers are taken for it: every candidate must give them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler.ingest import Ingested
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.recipe import Recipe
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]


def filled(ingested: Ingested, research: Mapping[str, Array], recipe: Recipe) -> Ingested:
    """Return the parts with the research model's answers as their labels, where the data has none."""
    if recipe.data.label:
        return ingested
    parts = {
        name: Part(part.inputs, research[name].argmax(1) if recipe.task is Task.CLASSIFICATION else research[name])
        for name, part in ingested.parts.items()
    }
    return replace(ingested, parts=parts)


def spread(recipe: Recipe, truth: Array) -> float:
    """Return what an error is measured against where the research model has none: that of always giving the mean."""
    if recipe.data.label or recipe.task is not Task.REGRESSION:
        return 0.0
    return float(np.mean(np.abs(truth - truth.mean(axis=0))))
