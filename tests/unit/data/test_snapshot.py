import json

import numpy as np
import pytest

from sprat.data import columns, snapshot
from sprat.errors import WrongUse


def _add(folder, table, name="first", at="2026-01-01T00:00:00+00:00"):
    return snapshot.add(folder, table, name=name, source="x.csv", added_at=at)


def _files(folder):
    return sorted(path.stem for path in (folder / "columns").iterdir())


def test_a_snapshot_is_found_by_name_and_hash_and_comes_back_as_it_was(tmp_path):
    table = {"a": np.arange(3.0), "b": np.array(["x", "yy", ""]), "c": np.arange(12, dtype=np.uint8).reshape(3, 2, 2)}
    made = _add(tmp_path, table)
    assert snapshot.find(tmp_path, "first") == snapshot.find(tmp_path, made.sha256[:8]) == made
    assert made.columns == {"a": "float64", "b": "<U2", "c": "uint8 [2, 2]"}
    found = snapshot.load(tmp_path, made)
    assert snapshot.content_digest(found) == snapshot.content_digest(table) == made.sha256
    assert isinstance(found["a"], np.memmap)


def test_a_column_is_stored_once_over_all_snapshots(tmp_path):
    shared = np.arange(1000.0)
    _add(tmp_path, {"a": shared, "b": np.zeros(1000)})
    _add(tmp_path, {"a": shared, "b": np.ones(1000), "copy": shared}, name="second")
    assert len(_files(tmp_path)) == 3
    assert len(snapshot.every(tmp_path)) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw[:-8],
        lambda raw: raw.replace(b"<f8", b"<i8"),
        lambda raw: b"",
    ],
)
def test_a_touched_column_is_found_and_healed_by_adding_again(tmp_path, spoil):
    table = {"a": np.arange(3.0)}
    made = _add(tmp_path, table)
    file = tmp_path / "columns" / f"{made.parts['a']}.npy"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(WrongUse, match="add the data again"):
        snapshot.load(tmp_path, made)
    _add(tmp_path, table)
    assert snapshot.load(tmp_path, made)["a"].tolist() == [0, 1, 2]


def test_a_snapshot_that_points_to_other_columns_is_found(tmp_path):
    made = _add(tmp_path, {"a": np.arange(3.0)})
    other = _add(tmp_path, {"a": np.arange(4.0)}, name="second")
    path = tmp_path / "snapshots" / f"{made.sha256}.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"parts": dict(other.parts)}))
    with pytest.raises(WrongUse, match="its columns do not have the hash"):
        snapshot.load(tmp_path, snapshot.find(tmp_path, "first"))
    for bad in ("{", "[]", json.dumps({**raw, "rows": 1, "extra": 1}), json.dumps(raw | {"parts": {"a": "../../x"}})):
        path.write_text(bad)
        with pytest.raises(WrongUse, match="remove the file and add the data again"):
            snapshot.every(tmp_path)


def test_an_unknown_snapshot_says_which_there_are(tmp_path):
    _add(tmp_path, {"a": np.arange(3.0)})
    with pytest.raises(WrongUse, match="known: first"):
        snapshot.find(tmp_path, "frist")


def test_the_same_content_takes_a_new_name_and_grows_no_younger(tmp_path):
    _add(tmp_path, {"a": np.arange(3.0)})
    again = _add(tmp_path, {"a": np.arange(3.0)}, name="renamed", at="2026-06-01T00:00:00+00:00")
    assert (again.name, again.first_added_at[:7], again.added_at[:7]) == ("renamed", "2026-01", "2026-06")
    assert [one.name for one in snapshot.every(tmp_path)] == ["renamed"]


def test_a_write_that_ends_midway_leaves_no_snapshot_and_no_part(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space"):
        _add(tmp_path, {"a": np.arange(3.0)})
    assert snapshot.every(tmp_path) == []
    assert _files(tmp_path) == []


def test_the_content_hash_sees_names_types_and_values_and_no_order_in_memory():
    base = snapshot.content_digest({"a": np.arange(3.0)})
    others = [{"b": np.arange(3.0)}, {"a": np.arange(3)}, {"a": np.arange(3.0)[:, None]}, {"a": np.arange(1.0, 4.0)}]
    assert len({base, *(snapshot.content_digest(one) for one in others)}) == 5
    grid = np.arange(6.0).reshape(2, 3)
    assert columns.digest(np.asfortranarray(grid)) == columns.digest(grid) != columns.digest(grid.T)
