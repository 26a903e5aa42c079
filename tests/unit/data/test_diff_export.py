import numpy as np
import pytest

from sprat.data import diff, export
from sprat.data.table import read_table
from sprat.errors import WrongUse


def _table():
    return {
        "degrees": np.array([0.1, np.nan, 1e-300, -3.0]),
        "count": np.array([1, -2, 3, 2**53]),
        "on": np.array([True, False, True, True]),
        "state": np.array(["a", 'with "quotes", and\nlines', "", "ö"]),
        "window": np.arange(48, dtype=np.float32).reshape(4, 3, 4),
        "raw": np.array([b"x", b"yy", b"z", b""]),
        "big": np.arange(4, dtype=">i4"),
    }


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_what_is_exported_comes_back_with_its_shapes(tmp_path, suffix):
    export.write(tmp_path / f"x.{suffix}", _table())
    found = read_table(tmp_path / f"x.{suffix}")
    for name, column in _table().items():
        assert found[name].shape == column.shape
        wanted = np.char.decode(column) if suffix == "parquet" and column.dtype.kind == "S" else column
        np.testing.assert_array_equal(found[name], wanted)
    assert found["window"].dtype == np.float32
    assert not list(tmp_path.glob("*.part"))


def test_a_csv_comes_back_number_for_number(tmp_path):
    table = {name: column for name, column in _table().items() if column.ndim == 1}
    export.write(tmp_path / "x.csv", table)
    found = read_table(tmp_path / "x.csv")
    for name, column in table.items():
        wanted = np.char.decode(column) if column.dtype.kind == "S" else column
        np.testing.assert_array_equal(found[name], wanted)


def test_the_bytes_of_an_npz_follow_from_its_content(tmp_path):
    export.write(tmp_path / "a.npz", _table())
    export.write(tmp_path / "b.npz", dict(reversed(_table().items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_format_that_cannot_hold_it_says_so_and_leaves_no_file(tmp_path):
    with pytest.raises(WrongUse, match=r"column 'window' holds an array.*use .npz or .parquet"):
        export.write(tmp_path / "x.csv", _table())
    with pytest.raises(WrongUse, match=r"found .xlsx, expected .csv, .npz, .parquet"):
        export.write(tmp_path / "x.xlsx", _table())
    assert list(tmp_path.iterdir()) == []


def test_a_diff_names_columns_types_ranges_and_rows_in_common():
    rng = np.random.default_rng(0)
    base = {"a": rng.normal(size=500), "b": np.array(["x", "y"] * 250), "gone": np.zeros(500), "n": np.arange(500)}
    after = {
        "a": np.concatenate([base["a"][:300], rng.normal(5, 1, 200)]),
        "b": np.array(["x", "longer"] * 250),
        "n": np.arange(500.0),
        "new": np.ones(500),
    }
    after["b"][:300] = base["b"][:300]
    found = diff.compare(base, after)
    assert (found.added, found.removed, found.retyped) == (("new",), ("gone",), ("n",))
    assert found.rows == (500, 500)
    assert found.common_rows == 300
    changes = {one.name: one for one in found.columns}
    assert changes["a"].psi > 0.5
    assert changes["n"].psi == 0
    assert changes["n"].holds == ("int64", "float64")
    assert changes["b"].ranges == ("2 different", "3 different")


def test_columns_of_other_kinds_are_not_measured_against_each_other():
    found = diff.compare({"a": np.arange(3)}, {"a": np.array(["x", "y", "z"])})
    assert found.columns[0].psi is None
    assert (found.retyped, found.common_rows) == (("a",), 0)
    same = diff.compare({"a": np.arange(3)}, {"a": np.arange(3)})
    assert (same.retyped, same.common_rows, same.columns[0].psi) == ((), 3, 0)
