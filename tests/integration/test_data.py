"""Data through whole builds: which snapshot it was, the gates on age and on features, and data that is broken."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sprat import cli
from sprat.data.table import write_table
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration

NOW_S = time.time()

RECIPE = """
schema = "sprat.recipe/1"
model = "toy"
task = "classification"
labels = ["off", "on"]
schemes = ["float64-onnx"]

[data]
file = "rows.npz"

[train]
framework = "sklearn"
factory = "factory.py"

[inputs.reading]
features = ["a", "b", "c"]

[golden]
count = 8
"""
FACTORY = """
def model(train, validation, *, seed):
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression().fit(train.inputs["reading"], train.labels)
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    for name in ("DATA", "RUNS", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path / "toy")
    Path("recipe.toml").write_text(RECIPE)
    Path("factory.py").write_text(FACTORY)
    write_table(Path("rows.npz"), _rows())
    return tmp_path / "toy"


def _rows(seed=1, count=300):
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 2
    table = {name: 20 + rng.normal(size=count) + 2 * label for name in "abc"}
    return table | {
        "label": label,
        "subject": rng.integers(0, 30, count),
        "when": NOW_S - 86_400 * (9.5 + np.arange(count)),
    }


def _add(name, table):
    write_table(Path(f"{name}.npz.tmp.npz"), table)
    assert cli.main(["data", "add", f"{name}.npz.tmp.npz", "--name", name, "--quiet"]) == 0
    Path(f"{name}.npz.tmp.npz").unlink()  # the recipe's folder is a part of what a manifest says


def _build(*options):
    return cli.main(["build", ".", "--quiet", *options])


def _provenance(path):
    with path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest.provenance


def test_a_build_says_which_snapshot_it_used_and_its_name_changes_no_byte(project):
    _add("may", _rows())
    assert _build("--data", "may", "--out", "one") == 0
    facts = _last_run(project)["facts"]
    assert facts["snapshot"]["name"] == "may"
    assert (
        facts["snapshot"]["sha256"]
        == facts["data_sha256"]
        == _provenance(Path("one/toy-generic-x86_64.sprat"))["data_sha256"]
    )
    _add("renamed", _rows())
    assert _build("--data", "renamed", "--out", "two") == 0
    assert _last_run(project)["facts"]["snapshot"]["name"] == "renamed"
    assert Path("one/toy-generic-x86_64.sprat").read_bytes() == Path("two/toy-generic-x86_64.sprat").read_bytes()


def _last_run(project):
    return json.loads(
        max((project.parent / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns).read_text()
    )


def test_features_that_changed_since_a_bundle_stop_the_build(capsys):
    assert _build("--out", "first", "--since", "last") == 0  # nothing came before
    bundle = "first/toy-generic-x86_64.sprat"
    assert _provenance(Path(bundle))["features"]["reading"]["a"]["type"] == "number"
    write_table(Path("rows.npz"), _rows(seed=2))
    assert _build("--out", "second", "--since", bundle) == 0
    warmer = _rows()
    write_table(Path("rows.npz"), warmer | {"b": warmer["b"] * 1.8 + 32})
    capsys.readouterr()
    for since in (bundle, "last"):
        assert _build("--out", "third", "--since", since) == 1
        said = capsys.readouterr().err
        assert f"feature-changed: since {since}: feature 'b' went from" in said
        assert said.count("\n") == 1
    assert not Path("third").exists()
    assert _build("--out", "third", "--set", f"data.since={bundle}") == 1
    assert _build("--out", "third", "--since", "nothing.sprat") == 2


def test_old_data_stops_the_build(capsys):
    assert _build("--set", "data.time=when", "--set", "data.max_age_days=10") == 0
    capsys.readouterr()
    assert _build("--set", "data.time=when", "--set", "data.max_age_days=9") == 1
    assert "stale-data: the newest row (when) is 9.5 days old, data.max_age_days allows 9" in capsys.readouterr().err
    assert _build("--set", "data.max_age_days=9") == 2
    _add("may", _rows())
    assert _build("--data", "may", "--set", "data.max_age_days=9") == 0


def test_groups_and_time_split_a_build_and_the_manifest_proves_it():
    assert _build("--set", "data.split.method=groups", "--set", "data.split.by=subject", "--out", "out") == 0
    splits = _provenance(Path("out/toy-generic-x86_64.sprat"))["splits"]
    assert sum(part["groups"] for part in splits.values()) == len(np.unique(_rows()["subject"]))
    assert len({part["groups_sha256"] for part in splits.values()}) == 4
    assert _build("--set", "data.split.method=time", "--set", "data.time=when", "--out", "out") == 0
    splits = _provenance(Path("out/toy-generic-x86_64.sprat"))["splits"]
    assert splits["validation"]["to_s"] < splits["test"]["from_s"]


def _with(**columns):
    return lambda table: table | {name: change(table[name].copy()) for name, change in columns.items()}


def _nan(column):
    column[7] = np.nan
    return column


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (_with(a=_nan), (), "column 'a' has 1 missing or infinite values"),
        (_with(label=np.zeros_like), (), "all 300 labels are 'off', expected at least two classes"),
        (_with(label=lambda label: label + 1), (), "found positions 1 to 2, expected 0 to 1"),
        (_with(label=lambda label: label - 1), (), "found positions -1 to 0, expected 0 to 1"),
        (_with(c=lambda c: c.astype(str)), (), "column 'c' holds text such as"),
        (lambda table: {k: v for k, v in table.items() if k != "b"}, (), "column 'b' is missing"),
        (
            dict,
            ("data.split.method=ordered", "data.split.train=0.697", "data.split.calibration=0.003"),
            "the calibration part has 1 row, expected 32; raise its share",
        ),
        (dict, ("data.file=../toy",), "expected one folder for each class"),
    ],
)
def test_broken_data_is_one_line_and_no_model(spoil, options, said, capsys):
    write_table(Path("rows.npz"), spoil(_rows()))
    assert _build("--out", "out", *(word for option in options for word in ("--set", option))) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.slow
def test_a_folder_of_images_becomes_a_bundle(capsys):
    rng = np.random.default_rng(3)
    for name, bright in (("off", 40), ("on", 180)):
        (Path("photos") / name).mkdir(parents=True)
        for count in range(120):
            pixels = rng.normal(bright, 20, (6, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(Path("photos") / name / f"{count}.png")
    recipe = RECIPE.replace('"rows.npz"', '"photos"').replace('features = ["a", "b", "c"]', 'column = "image"')
    Path("recipe.toml").write_text(recipe.replace('"sklearn"', '"keras"').replace('["float64-onnx"]', '["float32"]'))
    Path("factory.py").write_text(
        "def model(train, validation, *, seed):\n"
        "    import keras\n"
        "    keras.utils.set_random_seed(seed)\n"
        "    layers = keras.layers\n"
        "    made = keras.Sequential([layers.Input((6, 8, 3), name='reading'), layers.Rescaling(1 / 255), layers.Flatten(),\n"
        "                             layers.Dense(2, 'softmax')])\n"
        "    made.compile(keras.optimizers.Adam(0.05), 'sparse_categorical_crossentropy')\n"
        "    made.fit(train.inputs['reading'], train.labels, epochs=20, verbose=0)\n"
        "    return made\n"
    )
    assert _build("--out", "out") == 0, capsys.readouterr().err
    assert _provenance(Path("out/toy-generic-x86_64.sprat"))["features"]["reading"]["image"]["shape"] == [6, 8, 3]
