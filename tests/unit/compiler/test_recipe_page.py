"""docs/recipe.md names every key of a recipe and every scheme: what is not written down is not there for a user."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec.gates import Gates
from sprat.compiler.spec.limits import KEYS
from sprat.compiler.spec.recipe import METRICS, DataPlan, InputSpec, Recipe, TrainPlan, parse
from sprat.compiler.spec.search_plan import SearchPlan
from sprat.data.split import METHODS, SplitPlan

PAGE = (Path(__file__).parents[3] / "docs" / "recipe.md").read_text("utf-8")
NOT_KEYS = {"source", "name", "shares", "parameters", "space", "golden_count", "golden_inputs"}


@pytest.mark.parametrize("owner", [Recipe, DataPlan, SplitPlan, TrainPlan, InputSpec, Gates, SearchPlan])
def test_every_key_is_named(owner: type) -> None:
    names = {field.name for field in fields(owner)} - NOT_KEYS
    assert [name for name in sorted(names) if name not in PAGE] == []


def test_every_word_of_a_closed_set_is_named() -> None:
    metrics = [metric for group in METRICS.values() for metric in group]
    assert [
        word for word in (*SCHEMES, *METHODS, *metrics, *KEYS) if f"`{word}`" not in PAGE and word not in PAGE
    ] == []


def test_the_example_is_a_recipe() -> None:
    recipe = parse(PAGE.split("```toml\n")[1].split("```")[0])
    assert (recipe.model, recipe.data.split.by) == ("pump", "pump")
