import numpy as np
import pytest

from sprat.data import labels, quality, snapshot
from sprat.errors import RecipeError, WrongUse

NAMES = ("off", "on")


def test_labels_are_names_or_positions():
    assert labels.encode(np.array(["on", "off"]), NAMES).tolist() == [1, 0]
    assert labels.encode(np.array([1.0, 0.0]), NAMES).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [["on", "up"], [0, 2], [-1, 0], [0.5, 1], [np.nan, 1]])
def test_labels_that_are_neither_are_refused(bad):
    with pytest.raises(RecipeError):
        labels.encode(np.array(bad), NAMES)


def test_findings_name_missing_constant_doubled_and_rare():
    table = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([2.0, 2.0, 2.0]), "c": np.array([2.0, 2.0, 2.0])}
    assert {(f.column, f.code) for f in quality.examine(table)} == {
        ("a", "missing"), ("b", "constant"), ("c", "constant"), ("c", "doubled"),
    }  # fmt: skip
    assert [f.code for f in quality.balance(np.array([0] * 100 + [1]), NAMES)] == ["rare-class"]
    assert quality.examine({"a": np.arange(3.0)}) == []


def test_a_snapshot_is_found_by_name_and_hash_and_checked_when_loaded(tmp_path):
    table = {"a": np.arange(3.0)}
    made = snapshot.add(tmp_path, table, name="first", source="x.csv", added_at="2026-01-01T00:00:00+00:00")
    assert snapshot.find(tmp_path, "first") == snapshot.find(tmp_path, made.sha256[:8]) == made
    assert snapshot.load(tmp_path, made)["a"].tolist() == [0, 1, 2]
    (tmp_path / f"{made.sha256}.npz").write_bytes((tmp_path / f"{made.sha256}.npz").read_bytes())
    other = snapshot.add(tmp_path, {"a": np.arange(4.0)}, name="second", source="", added_at="2026-01-02")
    (tmp_path / f"{made.sha256}.npz").write_bytes((tmp_path / f"{other.sha256}.npz").read_bytes())
    with pytest.raises(WrongUse, match="does not have the hash of its name"):
        snapshot.load(tmp_path, made)


def test_an_unknown_snapshot_says_which_there_are(tmp_path):
    snapshot.add(tmp_path, {"a": np.arange(3.0)}, name="first", source="", added_at="2026")
    with pytest.raises(WrongUse, match="known: first"):
        snapshot.find(tmp_path, "frist")


def test_the_content_hash_sees_names_types_and_values():
    base = snapshot.content_digest({"a": np.arange(3.0)})
    others = [{"b": np.arange(3.0)}, {"a": np.arange(3)}, {"a": np.arange(3.0)[:, None]}, {"a": np.arange(1.0, 4.0)}]
    assert len({base, *(snapshot.content_digest(one) for one in others)}) == 5
