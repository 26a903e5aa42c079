"""Whole builds of scikit-learn projects, from the recipe to the answer of the device's session."""


import pytest

from sprat import load
from sprat.compiler.build import build
from sprat_device.contract import bundle as bundles
from sprat_device.contract.records import NO_LABEL

pytestmark = pytest.mark.integration

HEAD = """
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
"""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "RUNTIMES", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


def _project(folder, *, recipe, factory):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(f'schema = "sprat.recipe/1"\nmodel = "tiny"\n{recipe}')
    (folder / "factory.py").write_text(HEAD + factory)
    return folder


def _built(folder, **options):
    return build(folder, out=folder / "out", runner="local", **options)


def _manifest(path):
    with path.open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest


ANOMALY = """
task = "anomaly"
metric = "average_precision"
[data]
label = "odd"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
features = ["a", "b"]
"""
DETECTOR = """
from sklearn.ensemble import IsolationForest

def data():
    rng = np.random.default_rng(0)
    odd = (np.arange(600) % 12 == 0).astype(int)
    far = rng.choice([-1.0, 1.0], (600, 2)) * 6 * odd[:, None]
    a, b = (rng.normal(size=(600, 2)) + far).T
    return {"a": a, "b": b, "odd": odd}

def model(train, validation, *, seed, trees=20):
    rows = train.inputs["x"][train.labels == 0]
    return make_pipeline(StandardScaler(), IsolationForest(n_estimators=trees, random_state=seed)).fit(rows)
"""


def test_an_anomaly_detector_labels_what_lies_above_its_threshold(tmp_path):
    result = _built(_project(tmp_path / "p", recipe=ANOMALY, factory=DETECTOR))
    assert result.research_metric > 0.9
    assert result.yardstick == pytest.approx(1 / 12, abs=0.01)
    (made,) = result.bundles
    manifest = _manifest(made.path)
    (output,) = manifest.outputs
    assert (output.meaning, output.shape, manifest.labels) == ("score", (-1, 1), ("normal", "unusual"))
    with load(made.path) as model:
        calm, odd = model.run([[0.0, 0.0], [5.0, -6.0]])
    assert calm["outputs"][0] < output.threshold < odd["outputs"][0]
    assert (calm["name"], odd["name"]) == ("normal", "unusual")
    with made.path.open("rb") as file, bundles.read(file) as bundle:
        assert bundle.baseline().class_counts.tolist()[1] > 0


SVM = """
task = "classification"
labels = ["setosa", "versicolor", "virginica"]
[data]
label = "kind"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
"""
PLAIN = """
from sklearn import datasets
from sklearn.svm import LinearSVC

def data():
    flowers = datasets.load_iris()
    return {"x": flowers.data, "kind": flowers.target}

def model(train, validation, *, seed):
    return make_pipeline(StandardScaler(), LinearSVC(random_state=seed)).fit(train.inputs["x"], train.labels)
"""


def test_a_support_vector_machine_answers_with_its_decision(tmp_path):
    (made,) = _built(_project(tmp_path / "p", recipe=SVM, factory=PLAIN)).bundles
    (output,) = _manifest(made.path).outputs
    assert output.meaning == "decision"
    with load(made.path) as model:
        (answer,) = model.run([[5.1, 3.5, 1.4, 0.2]])
    assert answer["name"] == "setosa"
    assert answer["outputs"].argmax() == 0
    assert answer["label"] != NO_LABEL


PAIR = """
task = "regression"
[data]
label = "both"
[data.split]
method = "random"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
"""
TWO_VALUES = """
from sklearn.ensemble import RandomForestRegressor

def data():
    x = np.random.default_rng(0).uniform(0, 4, (300, 2))
    return {"x": x, "both": np.stack([x.sum(axis=1), x[:, 0] * x[:, 1]], axis=1)}

def model(train, validation, *, seed):
    forest = RandomForestRegressor(10, max_depth=8, random_state=seed)
    return make_pipeline(StandardScaler(), forest).fit(train.inputs["x"], train.labels)
"""


def test_a_regressor_of_two_values_gives_both(tmp_path):
    (made,) = _built(_project(tmp_path / "p", recipe=PAIR, factory=TWO_VALUES)).bundles
    with load(made.path) as model:
        (answer,) = model.run([[3.0, 1.0]])
    assert answer["outputs"] == pytest.approx([4.0, 3.0], abs=0.6)
