"""`[[preprocess.INPUT]]`: the recipe's data goes through the device's own steps, and a recipe without keeps its bundle."""

from __future__ import annotations

import numpy as np
import pytest

from sprat.compiler.ingest import ingest
from sprat.compiler.spec import preprocess_plan
from sprat.compiler.spec.recipe import Recipe, parse
from sprat.errors import RecipeError
from sprat_device.contract import preprocess

TEXT = """
schema = "sprat.recipe/1"
model = "wave"
task = "classification"
labels = ["up", "down"]
[data.split]
seed = 1
[train]
framework = "keras"
factory = "factory.py"
[inputs.window]
[[preprocess.window]]
step = "window"
rows = 6
hop = 3
rate_hz = 10
channels = ["ax", "ay"]
[[preprocess.window]]
step = "normalise"
mean = [1, 2]
std = 2
[[preprocess.window]]
step = "detrend"
"""


def recipe(text: str = TEXT) -> Recipe:
    return parse(text)


def rows(count: int = 60, length: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "window": rng.normal(size=(count, length, 2)).astype(np.float32),
        "label": np.arange(count) % 2,
    }


def test_the_parts_hold_what_a_device_makes_of_a_reading() -> None:
    table = rows()
    found = ingest(table, recipe())
    plan = preprocess.read(recipe().preprocess["window"], "window")
    made = {plan.run(row).tobytes() for row in table["window"]}
    parts = [row for part in found.parts.values() for row in part.inputs["window"]]
    assert len(parts) == 60
    assert {row.tobytes() for row in parts} == made
    # What is known of the range is in the unit that the model sees.
    low, high = found.ranges["window"]
    assert low == min(float(row.min()) for row in found.parts["train"].inputs["window"])
    assert high < float(table["window"].max())
    train = found.parts["train"].inputs["window"]
    assert found.feature_ranges["window"][0] == tuple(train.min(axis=(0, 1)).tolist())
    assert found.feature_ranges["window"][1] == tuple(train.max(axis=(0, 1)).tolist())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('step = "detrend"', 'step = "untrend"', "step 'untrend' is not known here"),
        ("std = 2", "sigma = 2", "step normalise has no parameter 'sigma'"),
        ("[[preprocess.window]]", "[[preprocess.windows]]", "found 'windows', expected an input of the recipe: window"),
        ("rows = 6", "rows = 0", "an integer from 1"),
    ],
)
def test_a_recipe_with_other_steps_is_an_error_of_one_line(old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as told:
        parse(TEXT.replace(old, new))
    assert "\n" not in str(told.value)


def test_text_and_sequences_have_no_steps() -> None:
    with pytest.raises(RecipeError, match="text has no such steps"):
        parse(TEXT.replace("[inputs.window]", '[inputs.window]\ntype = "text"'))
    with pytest.raises(RecipeError, match=r"no steps beside \[stream\]"):
        parse(TEXT + '[stream]\nanswer = "last"\n')


def test_data_that_the_steps_do_not_fit_is_named() -> None:
    with pytest.raises(RecipeError, match=r"windows of shape \[5, 2\], the step says 6 rows of 2 channels"):
        ingest(rows(length=5), recipe())
    short = TEXT.replace("mean = [1, 2]", "mean = [1, 2, 3]")
    with pytest.raises(RecipeError, match=r"preprocess\.window: normalise: an array of shape 6 x 2"):
        ingest(rows(), recipe(short))


def test_a_recipe_without_steps_leaves_the_rows_alone() -> None:
    array = rows()["window"]
    plain = parse(TEXT.partition("[[preprocess")[0])
    assert plain.preprocess == {}
    assert {row.tobytes() for part in ingest(rows(), plain).parts.values() for row in part.inputs["window"]} == {
        row.tobytes() for row in array
    }
    assert preprocess_plan.prepared(array, ({"step": "window", "rows": 6},), "window") is array
