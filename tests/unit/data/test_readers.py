import io
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from sprat.data.table import read_table, write_table
from sprat.errors import RecipeError


def _picture(path, size=(4, 3), mode="RGB", value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * 3 if mode == "RGB" else None).save(path)


def test_a_column_that_is_text_only_in_its_last_row_keeps_every_cell_as_written(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1.50,2\n2,3\nend,4\n")
    found = read_table(tmp_path / "x.csv")
    assert found["a"].tolist() == ["1.50", "2", "end"]
    assert found["b"].tolist() == [2, 3, 4]


def test_a_csv_of_missing_cells_keeps_their_places(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n?,x\nNA,\n 3 ,z\n")
    found = read_table(tmp_path / "x.csv")
    assert np.isnan(found["a"]).tolist() == [True, True, False]
    assert found["b"].tolist() == ["x", "", "z"]


def test_parquet_gives_numbers_text_times_and_lists(tmp_path):
    pyarrow.parquet.write_table(
        pyarrow.table({
            "whole": pyarrow.array([1, 2, None]),
            "degrees": [0.5, 1.5, 2.5],
            "on": [True, False, True],
            "state": pyarrow.array(["a", None, "b"]).dictionary_encode(),
            "when": pyarrow.array([0, 1_000_000, 2_500_000], pyarrow.timestamp("us", tz="UTC")),
            "day": pyarrow.array([0, 1, 2], pyarrow.date32()),
            "window": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        }),
        tmp_path / "x.parquet",
    )  # fmt: skip
    found = read_table(tmp_path / "x.parquet")
    assert found["whole"][:2].tolist() == [1, 2]
    assert np.isnan(found["whole"][2])
    assert found["on"].dtype == np.bool_
    assert found["state"].tolist() == ["a", "", "b"]
    assert found["when"].tolist() == [0, 1, 2.5]
    assert found["day"].tolist() == [0, 86400, 172800]
    assert found["window"].tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([{"x": 1}], "column 'c' is of type struct"),
        ([b"raw"], "column 'c' is of type binary"),
        ([[1.0], [1.0, 2.0]], "lists of 2 lengths"),
    ],
)
def test_parquet_columns_that_are_no_rows_of_numbers_are_refused(tmp_path, column, said):
    pyarrow.parquet.write_table(pyarrow.table({"c": column}), tmp_path / "x.parquet")
    with pytest.raises(RecipeError, match=said):
        read_table(tmp_path / "x.parquet")


def test_images_become_pixels_labels_and_names(tmp_path):
    _picture(tmp_path / "dog" / "b.png", value=2)
    _picture(tmp_path / "cat" / "a.jpg", value=200)
    (tmp_path / "cat" / ".thumbs").write_bytes(b"hidden files are no data")
    found = read_table(tmp_path)
    assert found["image"].shape == (2, 3, 4, 3)
    assert found["image"].dtype == np.uint8
    assert found["label"].tolist() == ["cat", "dog"]
    assert found["file"].tolist() == ["cat/a.jpg", "dog/b.png"]
    assert found["image"][1].max() == 2


def test_a_camera_that_was_turned_gives_upright_pixels(tmp_path):
    (tmp_path / "cat").mkdir()
    facts = Image.Exif()
    facts[0x0112] = 6  # turned by a quarter
    Image.new("L", (4, 3)).save(tmp_path / "cat" / "a.jpg", exif=facts)
    assert read_table(tmp_path)["image"].shape == (1, 4, 3, 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: _picture(d / "dog" / "z.png", size=(5, 3)), "dog/z.png is 5x3 pixels with 3 channels, expected 4x3"),
        (lambda d: _picture(d / "dog" / "z.png", mode="L"), "with 1 channel, expected 4x3 pixels with 3 channels"),
        (lambda d: _picture(d / "dog" / "z.png", mode="P"), "mode 'P', expected grey"),
        (lambda d: (d / "dog" / "notes.txt").write_text("x"), "found dog/notes.txt, expected .png or .jpg"),
        (lambda d: (d / "notes.txt").write_text("x"), "expected one folder for each class"),
        (lambda d: (d / "dog" / "z.png").write_bytes(b"\x89PNG cut"), "dog/z.png is not a readable image"),
    ],
)  # fmt: skip
def test_a_folder_that_holds_something_else_names_the_file(tmp_path, spoil, said):
    _picture(tmp_path / "cat" / "a.png")
    _picture(tmp_path / "dog" / "a.png")
    spoil(tmp_path)
    with pytest.raises(RecipeError, match=said):
        read_table(tmp_path)


def test_a_truncated_picture_is_named(tmp_path):
    _picture(tmp_path / "cat" / "a.png", size=(64, 64))
    whole = (tmp_path / "cat" / "a.png").read_bytes()
    (tmp_path / "cat" / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"cat/a\.png is not a readable image"):
        read_table(tmp_path)


def test_a_callable_is_run_by_name_and_its_words_stay_off_stdout(tmp_path, capsys):
    (tmp_path / "rows.py").write_text("def fetch():\n    print('loud')\n    return {'a': [1.0, 2.0]}\n")
    assert read_table(tmp_path / "rows.py:fetch")["a"].tolist() == [1, 2]
    said = capsys.readouterr()
    assert not said.out
    assert "loud" in said.err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def other(): ...", "has no function 'fetch'"),
        ("def fetch(): return 3", "returned int, expected columns by name"),
        ("def fetch(): raise OverflowError('far')", "OverflowError: far"),
        ("def fetch(): return {'a': [1], 'b': [1, 2]}", "expected one length"),
        ("import no_such_module_of_ours", "no_such_module_of_ours"),
    ],
)
def test_a_callable_that_does_not_give_columns_says_why(tmp_path, body, said):
    (tmp_path / "rows.py").write_text(body + "\n")
    with pytest.raises(RecipeError, match=said):
        read_table(tmp_path / "rows.py:fetch")


def _npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_an_npz_that_claims_more_than_it_holds_takes_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"))
    with pytest.raises(RecipeError, match="does not fill its 0 bytes"):
        read_table(tmp_path / "x.npz")


def test_a_deflated_npz_is_read_and_one_of_another_kind_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(1000.0))
    assert read_table(tmp_path / "x.npz")["a"][-1] == 999
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(RecipeError, match="not a plain array"):
        read_table(tmp_path / "y.npz")


def test_every_kind_of_damage_is_one_recipe_error(tmp_path):
    whole = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": list(range(500))}), whole)
    for cut in (4, 60, len(whole.getvalue()) - 3):
        (tmp_path / "x.parquet").write_bytes(whole.getvalue()[:cut])
        with pytest.raises(RecipeError, match="cannot be read"):
            read_table(tmp_path / "x.parquet")
    write_table(tmp_path / "z.npz", {"a": np.arange(500)})
    raw = bytearray((tmp_path / "z.npz").read_bytes())
    raw[2000] ^= 1
    (tmp_path / "z.npz").write_bytes(raw)
    with pytest.raises(RecipeError, match="not an npz of plain arrays"):
        read_table(tmp_path / "z.npz")
    (tmp_path / "x.tsv").write_text("a\n")
    with pytest.raises(RecipeError, match=r"found .tsv, expected .csv, .npz, .parquet"):
        read_table(tmp_path / "x.tsv")
