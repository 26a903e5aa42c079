from pathlib import Path

import numpy as np
import pytest

from sprat.compiler.ingest import ingest
from sprat.compiler.spec import recipe
from sprat.errors import RecipeError

TEXT = (Path(__file__).parents[3] / "models" / "occupancy" / "recipe.toml").read_text()
WORDS = 'inputs.room={features=["room", "floor"], type="text"}'


def _table(rows=300):
    rng = np.random.default_rng(1)
    table = {name: rng.normal(20, 3, rows) for name in ("temperature", "humidity", "co2", "hour")}
    words = {
        "room": np.array(["east", "west"])[rng.integers(0, 2, rows)],
        "floor": np.array(["1", "2"])[np.arange(rows) % 2],
    }
    return table | words | {"occupied": np.arange(rows) // 2 % 2}


def _recipe(*overrides):
    return recipe.parse(TEXT, name="r.toml", overrides=overrides)


def test_an_input_of_text_holds_its_columns_as_text():
    found = ingest(_table(), _recipe(WORDS))
    assert found.parts["train"].inputs["room"].dtype.kind == "U"
    assert found.parts["train"].inputs["room"].shape[1] == 2
    assert found.ranges["room"] == (0, 0)
    assert found.features["room"] == {"room": {"type": "text", "shape": []}, "floor": {"type": "text", "shape": []}}


def test_missing_values_are_kept_where_the_input_says_so_and_told():
    table = _table()
    table["co2"][5] = np.nan
    found = ingest(table, _recipe("inputs.reading.missing=keep"))
    kept = np.concatenate([part.inputs["reading"] for part in found.parts.values()])
    assert np.isnan(kept).sum() == 1
    assert np.isfinite(found.ranges["reading"]).all()
    assert any("co2 has 1 of 300 values that are missing" in sentence for sentence in found.findings)


@pytest.mark.parametrize(
    ("change", "overrides", "said"),
    [
        (lambda t: t["co2"].__setitem__(0, np.inf), ("inputs.reading.missing=keep",), "'co2' has 1 infinite values"),
        (lambda t: t["co2"].__setitem__(0, np.nan), (), "'co2' has 1 missing or infinite values"),
        (lambda t: t["co2"].fill(np.nan), ("inputs.reading.missing=keep",), "co2 has no value in any row"),
        (lambda t: t.update(floor=np.arange(300)), (WORDS,), "'floor' holds numbers, input 'room' has type"),
        (lambda t: t.update(room=np.arange(299)), ('inputs.room={column="room"}',), r"\[299, 300\] rows"),
        (lambda t: t.update(occupied=np.zeros(300)), (), "all 300 labels are 'empty'"),
        (
            lambda t: t.update(occupied=np.ones(300)),
            ("task=regression", "metric=mae", "labels=[]"),
            "the label is 1 in every row",
        ),
    ],
)
def test_what_no_model_can_be_made_of_is_one_error(change, overrides, said):
    table = _table()
    change(table)
    with pytest.raises(RecipeError, match=said):
        ingest(table, _recipe(*overrides))


def test_those_who_only_look_get_the_errors_among_the_observations():
    found = ingest(_table() | {"occupied": np.zeros(300)}, _recipe(), stop=False)
    assert "one-class" in {one.code for one in found.observations}


def test_groups_are_hashed_part_by_part_and_time_gives_its_bounds():
    table = _table() | {"subject": np.arange(300) // 10, "when": np.arange(300.0)[::-1]}
    found = ingest(table, _recipe("data.split={method='groups', by='subject'}"))
    assert sum(part["groups"] for part in found.splits.values()) == 30
    assert len({part["groups_sha256"] for part in found.splits.values()}) == 4
    found = ingest(table, _recipe("data.split={method='time'}", "data.time=when"))
    assert found.splits["test"]["to_s"] == 299
    assert found.splits["test"]["from_s"] > found.splits["validation"]["to_s"]
