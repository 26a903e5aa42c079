"""The example recipes beside digits and occupancy, each built from the data that its package carries."""

import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sprat import cli, load, settings
from sprat.compiler.build import build
from sprat.compiler.spec import factory
from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import InputSettings
from sprat_device.contract import bundle as bundles
from sprat_device.inference.sources import open_inlet

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    return settings.read({}, {f"SPRAT_{name}_DIR": str(folder / name.lower()) for name in ("RUNS", "DATA", "CACHE")})


@pytest.fixture(scope="module")
def motion(tmp_path_factory, own):
    out = tmp_path_factory.mktemp("motion")
    overrides = ("train.epochs=25", 'schemes=["float32", "int8"]')
    return build(MODELS / "motion", out=out, overrides=overrides, runner="local", settings=own)


@pytest.fixture(scope="module")
def gait(tmp_path_factory, own):
    overrides = ('schemes=["float64-onnx"]',)
    return build(
        MODELS / "gait", out=tmp_path_factory.mktemp("gait"), overrides=overrides, runner="local", settings=own
    )


@pytest.fixture(scope="module")
def wakeword(tmp_path_factory, own):
    overrides = ('schemes=["given"]',)
    return build(
        MODELS / "wakeword", out=tmp_path_factory.mktemp("ww"), overrides=overrides, runner="local", settings=own
    )


def _manifest(path):
    with path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest


def test_motion_answers_windows_and_no_recording_stands_in_two_parts(motion):
    manifest = _manifest(motion.bundles[0].path)
    assert manifest.inputs[0].shape == (1, 40, 6)
    assert motion.research_metric > 0.75 > motion.yardstick
    assert manifest.provenance["augment"] == "augment"
    rows = {name: part["rows"] for name, part in manifest.provenance["splits"].items()}
    # Augmentation adds to what the model sees, not to the parts: they are the data's own windows.
    assert sum(rows.values()) == 320
    table = factory.load(MODELS / "motion" / "factory.py", "data")()
    # Four windows a recording: whole recordings in each part.
    assert all(count % 4 == 0 for count in rows.values())
    with load(motion.bundles[0].path, runtime="litert") as model:
        window = table["window"][np.flatnonzero(table["motion"] == 1)[:4]]
        answers = [answer["name"] for answer in model.run({"window": window})]
    assert answers.count("running") >= 3


def test_single_samples_of_a_watch_become_motions_windows_on_a_device(motion, tmp_path):
    recording = factory.load(MODELS / "motion" / "factory.py", "_recordings")()[25][0]
    lines = [
        json.dumps({"t": n / 10, **dict(zip(("ax", "ay", "az", "gx", "gy", "gz"), row.tolist(), strict=True))})
        for n, row in enumerate(recording)
    ]
    path = tmp_path / "watch.jsonl"
    path.write_text("\n".join(lines) + "\n")
    wanted = replace(InputSettings("motion", "file"), path=str(path), from_start=True, time_field="t")
    source = open_inlet(wanted, SystemClock(), print).fitted(_manifest(motion.bundles[0].path))
    windows = [source.read(30).inputs["window"] for _ in range(4)]
    source.close()
    for place, window in enumerate(windows):
        np.testing.assert_allclose(window, recording[20 * place : 20 * place + 40], atol=1e-5)


def test_gait_scores_what_is_odd_without_having_seen_labels(gait):
    manifest = _manifest(gait.bundles[0].path)
    assert manifest.task == "anomaly"
    assert manifest.inputs[0].features[0] == "ankle_horiz_fwd"
    assert gait.research_metric > 0.8 > gait.yardstick
    assert manifest.outputs[-1].meaning == "score"
    page = gait.report.read_text()
    assert "anomalous rows" in page
    assert "Reliability" not in page


def test_the_voices_say_the_same_twice():
    first, second = (factory.load(MODELS / "wakeword" / "factory.py", "data")() for _ in range(2))
    assert first["features"].shape == (216, 70, 3, 40)
    assert np.array_equal(first["features"], second["features"])


def test_wakeword_hears_its_word_over_a_whole_sequence(wakeword):
    path = wakeword.bundles[0].path
    assert wakeword.research_metric > 0.9 > wakeword.yardstick
    spec = importlib.util.find_spec("pymicro_wakeword")
    given = (Path(spec.origin).parent / "models" / "okay_nabu.tflite").read_bytes()
    with path.open("rb") as file, bundles.read(file) as bundle, io.BytesIO() as into:
        bundle.copy_artifact(into)
        assert into.getvalue() == given
    table = factory.load(MODELS / "wakeword" / "factory.py", "data")()
    for word, name in ((0, "other"), (1, "okay nabu")):
        readings = table["features"][np.flatnonzero(table["word"] == word)[0]]
        with load(path, runtime="litert") as model:
            heard = [answer["name"] for answer in model.run({"input_audio": readings})]
        # It is silent at first, and says the word once it has been heard.
        assert (len(heard), heard[0]) == (70, "other")
        assert name in heard
        assert ("okay nabu" in heard) == bool(word)


@pytest.mark.parametrize("name", ["motion", "gait", "wakeword"])
def test_each_bundle_checks_itself(name, request, capsys):
    (made,) = request.getfixturevalue(name).bundles
    assert cli.main(["check", str(made.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_search_is_reproducible_kept_and_shown(tmp_path, own, monkeypatch, capsys):
    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))
    line = ["build", str(MODELS / "occupancy"), "--runner", "local", "--json", "--set", 'schemes=["float64-onnx"]']
    line += ["--set", "search.trials=3", "--set", "search.space.trees={low=3, high=12}"]
    found = []
    for out in ("one", "two"):
        assert cli.main([*line, "--out", str(tmp_path / out), *(["--no-cache"] if out == "two" else [])]) == 0
        found.append(json.loads(capsys.readouterr().out))
    best = found[0]["facts"]["search"]["best"]
    assert found[0]["facts"]["parameters"]["trees"] == best["trees"]
    assert found[0]["bundles"][0]["sha256"] == found[1]["bundles"][0]["sha256"]
    assert (found[0]["study"] != "", found[1]["study"]) == (True, "")
    assert cli.main(["runs", "list", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    kept = next(run["run"] for run in runs if run["study"])
    assert cli.main(["runs", "trials", kept, "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert len(trials) == 3
    assert max(trial["value"] for trial in trials) == found[0]["facts"]["search"]["value"]
    other = next(run["run"] for run in runs if not run["study"])
    assert cli.main(["runs", "trials", other]) == 2
    assert "kept no trials" in capsys.readouterr().err


def test_a_search_over_what_the_factory_does_not_take_is_told_before_anything_runs(tmp_path, capsys):
    line = ["build", str(MODELS / "occupancy"), "--out", str(tmp_path / "out"), "--quiet", "--set", "search.trials=3"]
    assert cli.main([*line, "--set", "search.space.tree={low=3, high=12}"]) == 2
    assert "unknown key 'tree'; did you mean 'trees'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


FAMILIES = '''
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression


def data():
    """An exclusive or of two signs: no line tells it."""
    x = np.random.default_rng(0).normal(size=(600, 2))
    return {"a": x[:, 0], "b": x[:, 1], "label": (x[:, 0] * x[:, 1] > 0).astype(int)}


def noisy(train, *, seed):
    from sprat.compiler.spec.factory import Part

    x = train.inputs["x"]
    return Part({"x": x + np.random.default_rng(seed).normal(0, 0.01, x.shape)}, train.labels)


def model(train, validation, *, seed, family="linear", size=5):
    made = {
        "linear": lambda: LogisticRegression(),
        "forest": lambda: RandomForestClassifier(size, max_depth=6, random_state=seed),
    }
    return made[family]().fit(train.inputs["x"], train.labels)
'''
FAMILY_RECIPE = """
schema = "sprat.recipe/1"
model = "families"
task = "classification"
labels = ["differ", "agree"]
schemes = ["float64-onnx"]
[train]
framework = "sklearn"
factory = "factory.py"
augment = "noisy"
[inputs.x]
features = ["a", "b"]
[search]
trials = 8
seed = 1
[search.space]
family = { choices = ["linear", "forest", "absent"] }
size = { low = 2, high = 12 }
[gates]
max_drop = 0.1
min_agreement = 0.9
"""


def test_a_search_chooses_among_families_and_one_that_breaks_costs_its_trial(tmp_path, own):
    (tmp_path / "factory.py").write_text(FAMILIES)
    (tmp_path / "recipe.toml").write_text(FAMILY_RECIPE)
    result = build(tmp_path, out=tmp_path / "out", runner="local", settings=own)
    found = result.facts["search"]
    assert found["best"]["family"] == "forest"
    assert found["trials"] == 8
    assert found["failed"] >= 1
    assert result.research_metric > 0.85
    provenance = _manifest(result.bundles[0].path).provenance
    assert provenance["search"] == found
    assert provenance["parameters"] == found["best"]
    assert provenance["augment"] == "noisy"


NORMAL_FIRST = """
import numpy as np

def data():
    rng = np.random.default_rng(0)
    odd = np.r_[np.zeros(320, int), np.tile([0, 1], 40)]
    return {"x": rng.normal(size=400) + 3 * odd, "odd": odd}

def model(train, validation, *, seed, trees=5):
    from sklearn.ensemble import IsolationForest
    return IsolationForest(trees, random_state=seed).fit(train.table())
"""


def test_a_search_that_no_row_could_judge_is_told_before_any_trial(tmp_path, capsys):
    (tmp_path / "factory.py").write_text(NORMAL_FIRST)
    (tmp_path / "recipe.toml").write_text(
        'schema = "sprat.recipe/1"\nmodel = "odd"\ntask = "anomaly"\n[data]\nlabel = "odd"\n[data.split]\nmethod = "ordered"\n'
        '[train]\nframework = "sklearn"\nfactory = "factory.py"\n[inputs.x]\n[search]\ntrials = 2\n'
        "[search.space]\ntrees = { low = 3, high = 9 }\n"
    )
    assert cli.main(["build", str(tmp_path), "--out", str(tmp_path / "out"), "--runner", "local", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "search: all 40 validation rows are 'normal'; trials are judged by rows of both kinds" in said
