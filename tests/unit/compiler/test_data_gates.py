import datetime
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sprat.compiler.ingest import ingest
from sprat.compiler.proof import data_gates
from sprat.compiler.spec import recipe
from sprat.data import snapshot
from sprat.errors import GateFailed, RecipeError

TEXT = (Path(__file__).parents[3] / "models" / "occupancy" / "recipe.toml").read_text()
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


def _recipe(*overrides):
    return recipe.parse(TEXT, name="r.toml", overrides=overrides)


def _table(rows=300):
    rng = np.random.default_rng(1)
    table = {name: rng.normal(20, 3, rows) for name in ("temperature", "humidity", "co2", "hour")}
    return table | {"occupied": np.arange(rows) % 2}


def _features(change=lambda _table: None):
    table = _table()
    change(table)
    return ingest(table, _recipe()).features


def _aged(days):
    return NOW.timestamp() - 86_400 * (days + np.arange(300.0))


def test_the_newest_row_decides_whether_data_is_stale():
    plan = _recipe("data.max_age_days=30", "data.time=when")
    data_gates.require_fresh(plan, _table() | {"when": _aged(29)}, snapshot=None, now=NOW)
    with pytest.raises(GateFailed, match=r"stale-data: the newest row .when. is 31.0 days old.*allows 30"):
        data_gates.require_fresh(plan, _table() | {"when": _aged(31)}, snapshot=None, now=NOW)


def test_without_a_time_the_first_day_of_the_snapshot_decides(tmp_path):
    plan = _recipe("data.max_age_days=30")
    old = snapshot.add(tmp_path, _table(), name="a", source="", added_at="2026-01-01T00:00:00+00:00")
    again = snapshot.add(tmp_path, _table(), name="a", source="", added_at="2026-05-31T00:00:00+00:00")
    assert old.sha256 == again.sha256
    with pytest.raises(GateFailed, match=r"snapshot 'a' is 151\.0 days old"):
        data_gates.require_fresh(plan, _table(), snapshot=again, now=NOW)
    new = snapshot.add(tmp_path, _table(301), name="b", source="", added_at="2026-05-31T00:00:00+00:00")
    data_gates.require_fresh(plan, _table(301), snapshot=new, now=NOW)


def test_an_age_that_nothing_tells_is_a_recipe_error():
    with pytest.raises(RecipeError, match=r"--set data.max_age_days: nothing says how old"):
        data_gates.require_fresh(_recipe("data.max_age_days=30"), _table(), snapshot=None, now=NOW)
    data_gates.require_fresh(_recipe(), _table(), snapshot=None, now=NOW)


def test_a_new_sample_of_the_same_sensors_has_not_changed():
    other = {name: column[::-1] + 0.5 if column.dtype.kind == "f" else column for name, column in _table().items()}
    found = ingest(other, _recipe()).features
    assert data_gates.changes(_features(), found) == []
    data_gates.require_same(found, _features(), since="x")
    data_gates.require_same(found, None, since="last")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(temperature=t["temperature"] * 1.8 + 32), "'temperature' went from"),
        (lambda t: t.update(co2=20 + (t["co2"] - 20) / 100), "'co2' went from"),
        (lambda t: t.update(hour=t["hour"] > 20), "'hour' had type number, now it has flag"),
    ],
)
def test_another_unit_a_still_sensor_or_another_type_stops(change, said):
    with pytest.raises(GateFailed, match="feature-changed: since v1: ") as caught:
        data_gates.require_same(_features(change), _features(), since="v1")
    assert said in str(caught.value)


def test_names_that_came_and_went_are_told():
    before = {"reading": {"a": {"type": "number", "shape": []}}, "old": {}}
    now = {"reading": {"b": {"type": "number", "shape": []}}, "new": {}}
    assert data_gates.changes(before, now) == [
        "input 'old' is gone", "input 'new' is new", "feature 'a' is gone", "feature 'b' is new",
    ]  # fmt: skip


def test_last_is_the_newest_run_of_the_model(tmp_path):
    source = SimpleNamespace(recipe=_recipe())
    assert data_gates.reference("last", source, tmp_path) is None
    for day, facts in (
        ("20260101", {"features": {"old": {}}}),
        ("20260102", {"features": {"new": {}}}),
        ("20260103", {}),
    ):
        run = {"model": "occupancy", "facts": facts}
        (tmp_path / f"{day}T000000-occupancy-1.json").write_text(json.dumps(run))
    (tmp_path / "20260104T000000-other-1.json").write_text(json.dumps({"model": "other", "facts": {"features": {}}}))
    assert data_gates.reference("last", source, tmp_path) == {"new": {}}
    (tmp_path / "20260105T000000-occupancy-1.json").write_text("{")
    with pytest.raises(RecipeError, match="cannot be read"):
        data_gates.reference("last", source, tmp_path)


def test_a_file_that_is_no_bundle_is_named(tmp_path):
    (tmp_path / "x.sprat").write_bytes(b"no bundle")
    with pytest.raises(RecipeError, match="not a readable bundle"):
        data_gates.reference(str(tmp_path / "x.sprat"), SimpleNamespace(recipe=_recipe()), tmp_path)
