"""The compiler with its real parts: TensorFlow and scikit-learn train, the device's own programs judge."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sprat import cli, load, settings
from sprat.compiler.build import build
from sprat.compiler.runners import measure
from sprat.data.table import read_table
from sprat.errors import GateFailed, MachineLacks
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
QUICK = ("train.epochs=8", "gates.min_metric=0.8")
"""The real recipe with fewer epochs: what is tested here is the way, not the digits."""


@pytest.fixture(scope="module")
def own_settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    names = {f"SPRAT_{name}_DIR": str(folder / name.lower()) for name in ("RUNS", "DATA", "CACHE")}
    # Environments that `scripts/test` made, where it did; the small ones below make their own.
    names["SPRAT_RUNTIMES_DIR"] = os.environ.get("SPRAT_RUNTIMES_DIR", str(ROOT / ".runtimes"))
    return names


@pytest.fixture(autouse=True)
def environment(own_settings, monkeypatch):
    for name, value in own_settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def digits(tmp_path_factory, own_settings):
    out = tmp_path_factory.mktemp("digits")
    return build(MODELS / "digits", out=out, overrides=QUICK, settings=settings.read({}, own_settings))


@pytest.fixture(scope="module")
def occupancy(tmp_path_factory, own_settings):
    out = tmp_path_factory.mktemp("occupancy")
    return build(MODELS / "occupancy" / "recipe.toml", out=out, settings=settings.read({}, own_settings))


def _manifest(path):
    with path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest


@pytest.mark.slow
def test_digits_gives_a_bundle_that_its_runtimes_reproduce(digits):
    assert {row.scheme for row in digits.candidates} == {"float32", "float16", "dynamic", "int8", "int8-full"}
    assert sum(row.chosen for row in digits.candidates) == 1
    assert all(row.chosen or row.reason for row in digits.candidates)
    (made,) = digits.bundles
    assert cli.main(["check", str(made.path), "--quiet"]) == 0
    manifest = _manifest(made.path)
    assert set(manifest.runtimes) == set(made.measured["runtimes"]) >= {"litert"}
    assert manifest.provenance["versions"]["tensorflow"]
    assert "litert" in manifest.golden.versions
    assert sorted(path.name for path in made.path.parent.iterdir()) == [
        "digits-generic-x86_64.sprat", "digits-test.npz", "measured.json", "report.html",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_test_set_counts_as_many_right_as_the_build_said(digits):
    (made,) = digits.bundles
    test = read_table(made.test_set)
    counted = json.loads((made.path.parent / "measured.json").read_text())["runtimes"]["litert"]
    assert counted["total"] == len(test["labels"])
    with load(made.path, runtime="litert") as model:
        answered = [answer["label"] for answer in model.run({"image": test["image"]})]
    assert int(np.sum(np.array(answered) == test["labels"])) == counted["correct"]


@pytest.mark.slow
def test_the_same_recipe_data_and_versions_give_the_same_bytes(digits, tmp_path):
    again = build(MODELS / "digits", out=tmp_path / "again", overrides=QUICK, cache=False)
    assert [one.sha256 for one in again.bundles] == [one.sha256 for one in digits.bundles]
    assert again.bundles[0].path.read_bytes() == digits.bundles[0].path.read_bytes()


@pytest.mark.slow
def test_another_seed_gives_other_bytes_and_the_same_input_signature(digits, tmp_path):
    other = build(
        MODELS / "digits", out=tmp_path, runner="local", overrides=(*QUICK, "train.seed=2", 'schemes=["float32", "int8"]')
    )  # fmt: skip
    assert other.bundles[0].sha256 != digits.bundles[0].sha256
    assert _manifest(other.bundles[0].path).provenance["seeds"]["train"] == 2
    assert {row.scheme for row in other.candidates} == {"float32", "int8"}


@pytest.mark.slow
def test_the_report_holds_its_pictures_and_every_reason(digits):
    page = digits.report.read_text()
    # Pareto plot, drops, recall, reliability, the research model's confusion matrix, and one for each different answer.
    assert page.count("<svg") in range(6, 6 + len(digits.bundles[0].measured["runtimes"]))
    assert "ECE 0." in page
    assert "<script" not in page
    assert all(row.reason.split("(", maxsplit=1)[0] in page for row in digits.candidates)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_occupancy_is_the_pipeline_with_raw_readings(occupancy):
    (made,) = occupancy.bundles
    manifest = _manifest(made.path)
    assert manifest.inputs[0].dtype == "float64"
    assert manifest.inputs[0].features == ("temperature", "humidity", "co2", "hour")
    assert occupancy.research_metric > occupancy.yardstick
    # The cast stands after the scaler: float32 readings would flip rows at the trees' thresholds.
    assert {"ai.onnx.Sub", "ai.onnx.Cast", "ai.onnx.ml.TreeEnsembleClassifier"} <= set(manifest.provenance["ops"])
    with load(made.path) as model:
        day, night = [20.5, 27.0, 1200.0, 15.0], [19.5, 27.0, 440.0, 3.0]
        assert [answer["name"] for answer in model.run([day, night])] == ["occupied", "empty"]


def test_a_flipped_bit_is_refused_wherever_it_stands(occupancy, tmp_path, capsys):
    raw = occupancy.bundles[0].path.read_bytes()
    for place in (200, len(raw) // 2, len(raw) * 9 // 10):
        bad = bytearray(raw)
        bad[place] ^= 4
        (tmp_path / "bad.sprat").write_bytes(bad)
        assert cli.main(["check", str(tmp_path / "bad.sprat")]) == 1
        assert cli.main(["inspect", str(tmp_path / "bad.sprat")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 6
    assert all("bad-bundle" in line or "hash-mismatch" in line for line in said)


def test_inspect_shows_a_bundle_and_its_artifact(occupancy, tmp_path, capsys):
    path = occupancy.bundles[0].path
    assert cli.main(["inspect", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["model"], shown["sha256"]) == ("bundle", "occupancy", occupancy.bundles[0].sha256)
    with path.open("rb") as file, bundles.read(file) as bundle, (tmp_path / "m.onnx").open("wb") as into:
        bundle.copy_artifact(into)
    assert cli.main(["inspect", str(tmp_path / "m.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"][0]["dtype"] == "float64"


def test_two_targets_get_a_folder_each_and_a_run_is_kept(tmp_path, capsys):
    line = [
        "build",
        str(MODELS / "occupancy"),
        "--target",
        "pi-4",
        "--target",
        "generic-x86_64",
        "--out",
        str(tmp_path),
    ]
    assert cli.main([*line, "--set", "train.trees=5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(one["path"]).parent.name for one in document["bundles"]] == ["pi-4", "generic-x86_64"]
    assert document["bundles"][0]["measured"]["arch"] == ["aarch64"]
    assert cli.main(["runs", "list", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert runs[0]["bundles"] == document["bundles"]
    assert cli.main(["runs", "show", runs[0]["run"]]) == 0
    assert "chosen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "train.tree=3"], 2, "--set train.tree: unknown key 'tree'; did you mean 'trees'"),
        (["--set", 'inputs.reading.features=["temperature", "co"]'], 2, "column 'co' is missing"),
        (["--set", "data.file=none.csv"], 2, "none.csv does not exist"),
        (["--set", "targets=[]"], 2, "--set targets: targets: found none, expected at least one"),
        (["--target", "pi-5"], 2, "unknown target 'pi-5'; did you mean 'pi-4'"),
        (["--data", "nothing"], 2, "snapshot 'nothing'"),
        (["--runner", "env:none"], 4, "sprat runtimes add none"),
        (["--runner", "ssh:-oProxyCommand=x"], 2, "expected ssh:HOST or ssh:USER@HOST"),
        (["--runner", "telnet:box"], 2, "expected local, env:NAME or ssh:HOST"),
        (["--jobs", "none"], 2, "--jobs 'none': expected 1 to 256, or dask://host:port"),
        (["--set", "limits.pi-9.latency_us=4"], 2, "--set limits.pi-9.latency_us: unknown key 'pi-9'"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, code, said):
    out = tmp_path / "out"
    assert cli.main(["build", str(MODELS / "occupancy"), "--out", str(out), "--quiet", *arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.exists()


def test_a_model_that_stops_before_any_candidate_leaves_a_report_and_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPRAT_RUNS_DIR", str(tmp_path / "runs"))
    out = tmp_path / "out"
    line = ["build", str(MODELS / "occupancy"), "--out", str(out), "--quiet", "--set", "gates.min_metric=0.9999"]
    assert cli.main(line) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "gates.min_metric asks for 0.9999; see " in said
    assert [path.name for path in out.iterdir()] == ["report.html"]
    page = (out / "report.html").read_text()
    assert "Stopped before any candidate was made: min-metric: balanced_accuracy 0.9" in page
    assert "lower gates.min_metric if this is good enough" in page
    assert "Confusion matrix: research model" in page
    assert "Gates on every runtime" not in page
    assert cli.main(["runs", "list", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["stopped"].startswith("min-metric: ")
    for verb in ("show", "explain"):
        assert cli.main(["runs", verb, run["run"]]) == 0
        assert "Stopped before any candidate was made: min-metric" in capsys.readouterr().out


def test_a_model_whose_answers_are_not_finite_is_told_of_in_its_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPRAT_RUNS_DIR", str(tmp_path / "runs"))
    out = tmp_path / "out"
    line = ["build", str(MODELS / "digits"), "--out", str(out), "--set", "train.epochs=1", "--set", "train.rate=1e9"]
    assert cli.main([*line, "--quiet"]) == 1
    assert "non-finite: the trained model's answers to the " in capsys.readouterr().err
    assert "not finite" in (out / "report.html").read_text()
    assert cli.main(["runs", "list"]) == 0
    assert "stopped: non-finite  accuracy -" in capsys.readouterr().out


def test_a_target_s_storage_holds_the_whole_bundle(tmp_path):
    only = ("train.trees=5", 'schemes=["float64-onnx"]', "golden.count=1000")
    made = build(MODELS / "occupancy", out=tmp_path / "a", overrides=only, runner="local")
    (row,) = made.candidates
    limit = -(-row.size // 1024)
    assert made.bundles[0].size > (limit + 3) * 1024
    with pytest.raises(GateFailed, match=r"bundle [\d.]+ KiB, generic-x86_64 allows"):
        build(
            MODELS / "occupancy", out=tmp_path / "b", runner="local",
            overrides=(*only, f"limits.generic-x86_64.bundle_kib={limit + 3}"),
        )  # fmt: skip


def test_a_factory_may_import_the_module_beside_it(tmp_path):
    (tmp_path / "recipe.toml").write_text((MODELS / "occupancy" / "recipe.toml").read_text())
    factory = (
        (MODELS / "occupancy" / "factory.py")
        .read_text()
        .replace("n_estimators=trees", "n_estimators=trees + neighbour.TREES")
    )
    (tmp_path / "factory.py").write_text(
        factory.replace("from typing import", "import neighbour\nfrom typing import", 1)
    )
    (tmp_path / "neighbour.py").write_text("TREES = 0\n")
    made = build(tmp_path, out=tmp_path / "out", overrides=("train.trees=5",), runner="local", cache=False)
    assert "neighbour.py" in made.facts["files"]


def test_a_full_disk_while_training_is_the_machines_lack(tmp_path, capsys):
    for name in ("recipe.toml", "factory.py"):
        (tmp_path / name).write_text((MODELS / "occupancy" / name).read_text())
    with (tmp_path / "factory.py").open("a") as file:
        file.write(
            "\n\ndef model(*_parts, seed, trees=1, depth=1):\n    raise OSError(28, 'No space left on device')\n"
        )
    assert cli.main(["build", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"]) == 4
    assert capsys.readouterr().err == "sprat: No space left on device; make room, or give another --out\n"
    assert not (tmp_path / "out").exists()


def test_nothing_fits_names_the_limit_and_leaves_only_the_report(tmp_path):
    with pytest.raises(GateFailed, match=r"closest: [a-z0-9-]+, p50 latency") as caught:
        build(MODELS / "occupancy", out=tmp_path, overrides=("gates.max_latency_us=0.001", "train.trees=5"))
    assert caught.value.code == "nothing-fits"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "No candidate passed" in (tmp_path / "report.html").read_text()


def test_a_bundle_is_not_checked_where_its_runtime_is_not(occupancy, tmp_path, monkeypatch):
    monkeypatch.setenv("SPRAT_RUNTIMES_DIR", str(tmp_path))
    assert cli.main(["check", str(occupancy.bundles[0].path), "--runtime", "tflite"]) == 4
    with pytest.raises(MachineLacks, match="sprat runtimes add tflite"):
        measure.environment(tmp_path, "tflite")


@pytest.mark.slow
@pytest.mark.parametrize("template", ["tabular", "sensor"])
def test_a_new_project_builds_at_once(tmp_path, template, capsys):
    folder = tmp_path / "my-model"
    assert cli.main(["init", str(folder), "--template", template]) == 0
    assert cli.main(["build", str(folder), "--out", str(folder / "out"), "--runner", "local", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.split("\n", 2)[2])
    assert Path(document["bundles"][0]["path"]).is_file()


def test_a_given_onnx_goes_the_same_way(occupancy, tmp_path):
    path = occupancy.bundles[0].path
    with path.open("rb") as file, bundles.read(file) as bundle, (tmp_path / "given.onnx").open("wb") as into:
        bundle.copy_artifact(into)
    text = (MODELS / "occupancy" / "recipe.toml").read_text()
    head, tail = text.split("[train]")
    rest = tail[tail.index("[inputs.reading]") :]
    head = head.replace("label =", 'file = "rows.csv"\nlabel =')
    (tmp_path / "recipe.toml").write_text(f'{head}[train]\nframework = "onnx"\ngiven = "given.onnx"\n\n{rest}')
    rng = np.random.default_rng(0)
    hours = rng.uniform(0, 24, 400)
    busy = (hours > 9) & (hours < 17)
    rows = ["temperature,humidity,co2,hour,occupied"]
    rows += [f"{20 + b},27,{450 + 700 * b},{h:.2f},{int(b)}" for h, b in zip(hours, busy.astype(int), strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    made = build(tmp_path, out=tmp_path / "out", runner="local").bundles[0]
    assert made.scheme == "given-onnx"
    assert _manifest(made.path).artifact.sha256 == _manifest(occupancy.bundles[0].path).artifact.sha256
