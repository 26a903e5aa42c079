import numpy as np
import pytest

from sprat.data import table
from sprat.errors import MachineLacks, RecipeError


def test_csv_becomes_numbers_where_every_cell_is_one_and_text_elsewhere(tmp_path):
    (tmp_path / "x.csv").write_text("when,degrees,state\nmon,1.5,on\ntue,,off\n")
    found = table.read_table(tmp_path / "x.csv")
    assert found["degrees"].dtype == np.float64
    assert np.isnan(found["degrees"][1])
    assert found["state"].tolist() == ["on", "off"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 fields, the header 2"),
        ("a,a\n1,2\n", "must name each column once"),
        ("", "must name each column once"),
        ("a,b\n", "one length above zero"),
        ("a;b\n1,5;2\n", "separated by ';', expected commas"),
        ("a\tb\n1\t2\n", r"separated by '\\t', expected commas"),
    ],
)
def test_a_csv_that_is_no_table_says_what_is_wrong(tmp_path, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(RecipeError, match=said):
        table.read_table(tmp_path / "x.csv")


def test_damaged_unknown_and_absent_files_are_recipe_errors(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    for name in ("x.npz", "x.parquet", "none.csv"):
        with pytest.raises(RecipeError):
            table.read_table(tmp_path / name)


def test_an_npz_with_pickles_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    with pytest.raises(RecipeError, match="not a plain array"):
        table.read_table(tmp_path / "x.npz")


def test_written_tables_come_back_and_their_bytes_follow_from_the_content(tmp_path):
    columns = {"b": np.arange(4.0), "a": np.array(["x", "y", "z", "x"])}
    table.write_table(tmp_path / "1.npz", columns)
    table.write_table(tmp_path / "2.npz", dict(reversed(columns.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    found = table.read_table(tmp_path / "1.npz")
    assert found["a"].tolist() == columns["a"].tolist()
    assert not list(tmp_path.glob("*.part"))


def test_a_reader_whose_package_is_absent_says_how_to_get_it():
    with pytest.raises(
        MachineLacks, match=r"reading Parquet needs pyarrow; install it with: pip install 'sprat\[compiler\]'"
    ):
        table.needed("no_such_module_of_ours", "Parquet", "pyarrow")
