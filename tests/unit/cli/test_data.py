import json
from pathlib import Path

import numpy as np
import pytest

from sprat import cli
from sprat.data.table import read_table, write_table

RECIPE = """
schema = "sprat.recipe/1"
model = "toy"
task = "classification"
labels = ["off", "on"]

[data]
file = "rows.npz"

[data.split]
{split}

[train]
framework = "sklearn"
factory = "factory.py"

[inputs.reading]
features = ["a", "b", "c"]
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SPRAT_DATA_DIR", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def _rows(count=400):
    rng = np.random.default_rng(5)
    table = {name: rng.normal(size=count) for name in "abc"}
    return table | {
        "label": np.arange(count) % 2,
        "subject": np.arange(count) // 20,
        "when": 1e9 + np.arange(count) * 60,
    }


def _project(table, split=""):
    Path("recipe.toml").write_text(RECIPE.format(split=split))
    Path("factory.py").write_text("def model(train, validation, *, seed): ...\n")
    write_table(Path("rows.npz"), table)


def _json(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_clean_recipe_has_no_finding_and_strict_passes(capsys):
    _project(_rows())
    assert cli.main(["data", "check", ".", "--strict", "--json"]) == 0
    assert _json(capsys) == {"findings": []}


def test_findings_come_as_a_table_and_strict_makes_them_fail(capsys):
    table = _rows()
    table["c"] = table["label"] * 5.0 + table["c"] / 100
    _project(table)
    assert cli.main(["data", "check", "recipe.toml"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["severity", "column", "code", "what"]
    assert "label-leak" in said
    assert cli.main(["data", "check", "recipe.toml", "--strict"]) == 1
    assert "sprat: label-leak: recipe.toml: c alone gives the label away" in capsys.readouterr().err


def test_data_that_no_model_can_be_made_of_exits_1_after_all_findings(capsys):
    table = _rows()
    _project(table | {"label": np.zeros(400, np.int64), "b": table["a"]})
    assert cli.main(["data", "check", ".", "--json"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)["findings"]
    assert {(one["code"], one["severity"]) for one in found} == {("one-class", "error"), ("doubled", "finding")}
    assert said.err.count("\n") == 1


def test_a_factory_is_run_apart_and_its_data_checked(capsys):
    _project(_rows())
    Path("recipe.toml").write_text(Path("recipe.toml").read_text().replace('file = "rows.npz"', ""))
    Path("factory.py").write_text(
        "def data():\n    import numpy\n    return dict(numpy.load('rows.npz'))\n"
        "def model(train, validation, *, seed): ...\n"
    )
    assert cli.main(["data", "check", ".", "--json"]) == 0
    assert _json(capsys) == {"findings": []}


@pytest.mark.parametrize(
    ("split", "shown"),
    [
        ('method = "groups"\nby = "subject"', {"groups", "groups_sha256"}),
        ('method = "time"\nby = "when"', {"from_s", "to_s"}),
        ("", set()),
    ],
)
def test_split_shows_what_proves_the_parts_disjoint(split, shown, capsys):
    _project(_rows(), split)
    assert cli.main(["data", "split", ".", "--json"]) == 0
    parts = _json(capsys)["parts"]
    assert set(parts) == {"train", "calibration", "validation", "test"}
    assert sum(part["rows"] for part in parts.values()) == 400
    assert len({part["sha256"] for part in parts.values()}) == 4
    assert set(parts["test"]) == {"rows", "sha256"} | shown
    assert cli.main(["data", "split", "."]) == 0


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ('method = "groups"', 'data.split.by: found \'\', expected a column with method = groups or time'),
        ('by = "subject"', "data.split.by: found 'subject', expected a column with method"),
        ('method = "groups"\nby = "person"', "column 'person' is missing; the data has a, b, c, label, subject, when"),
        ('method = "time"\nby = "label"\ntrain = 0.3\ntest = 0.5', "got no row of 400"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_is_one_line(split, said, capsys):
    _project(_rows(), split)
    assert cli.main(["data", "split", "."]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_images_and_callables_are_added_and_named_after_their_source(capsys):
    Path("rows.py").write_text("def fetch():\n    return {'a': [1.0, 2.0]}\n")
    assert cli.main(["data", "add", "rows.py:fetch", "--json"]) == 0
    made = _json(capsys)
    assert (made["name"], made["rows"]) == ("rows", 2)
    assert made["source"].endswith("rows.py:fetch")


def test_diff_and_export_take_snapshots_and_files(capsys, tmp_path):
    write_table(Path("may.npz"), _rows())
    june = _rows()
    june["a"] = june["a"] + 4
    june["extra"] = june.pop("b")
    write_table(Path("june.npz"), june)
    assert cli.main(["data", "add", "may.npz", "--quiet"]) == 0
    assert cli.main(["data", "add", "june.npz", "--quiet"]) == 0
    assert len(list((tmp_path / "store" / "columns").iterdir())) == 7
    capsys.readouterr()
    assert cli.main(["data", "diff", "may", "june", "--json"]) == 0
    found = _json(capsys)
    assert (found["added"], found["removed"], found["common_rows"]) == (["extra"], ["b"], 0)
    assert next(one for one in found["columns"] if one["name"] == "a")["psi"] > 1
    assert cli.main(["data", "diff", "may", "may.npz"]) == 0
    assert "400 rows, now 400; 400 in common" in capsys.readouterr().out
    for suffix in ("csv", "npz", "parquet"):
        assert cli.main(["data", "export", "may", f"may.{suffix}"]) == 0
        assert np.array_equal(read_table(Path(f"may.{suffix}"))["a"], _rows()["a"])
    assert cli.main(["data", "export", "may", "no/such/may.csv"]) == 2
    assert "no/such/may.csv: cannot be written (No such file or directory)" in capsys.readouterr().err
