"""Fewer and shallower trees: what is left answers as scikit-learn says it should, and the accuracy it costs is shown."""

import copy
import json
import pickle

import numpy as np
import pytest
from sklearn import ensemble
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sprat import cli
from sprat.compiler import schemes
from sprat.compiler.frontends import sklearn_trees
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import PICKLE, Work
from sprat.errors import GateFailed

pytestmark = pytest.mark.integration

ROWS, CLASSES = load_breast_cancer(return_X_y=True)
FORESTS = (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier, ensemble.RandomForestRegressor)
ENSEMBLES = (
    *FORESTS, ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor, ensemble.AdaBoostClassifier,
    ensemble.BaggingClassifier, ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor,
)  # fmt: skip

HIST = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
"""skl2onnx hands truth values to protobuf as integers, which warns of it."""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "RUNTIMES", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


def _fitted(kind, count=12, **settings):
    counted = {"max_iter": count} if "Hist" in kind.__name__ else {"n_estimators": count}
    return kind(random_state=0, **counted, **settings).fit(ROWS[:400], CLASSES[:400])


def _predict(model, rows):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


def _lowered(name, model, folder, task="classification"):
    (folder / PICKLE).write_bytes(pickle.dumps(model))
    work = Work(str(folder), "sklearn", task, "m", input_names=("x",))
    parts = {"train": Part({"x": ROWS[:10]}, CLASSES[:10])}
    return schemes.load(name).lower(work, lambda: parts)


def _answers(artifact, rows):
    import onnxruntime

    return onnxruntime.InferenceSession(artifact).run(None, {"x": rows})[-1]


@HIST
@pytest.mark.parametrize("kind", ENSEMBLES)
def test_the_first_trees_are_what_the_ensemble_was_with_fewer(tmp_path, kind):
    model, fewer = _fitted(kind), _fitted(kind, 6)
    cut = copy.deepcopy(model)
    assert sklearn_trees.fewer(cut, 0.5) == (12, 6)
    # Seeded, an ensemble of 6 has the first 6 of 12 as they were.
    np.testing.assert_allclose(_predict(cut, ROWS), _predict(fewer, ROWS), atol=1e-12)
    task = "classification" if hasattr(model, "predict_proba") else "regression"
    made = _lowered("trees-half", model, tmp_path, task)
    np.testing.assert_allclose(
        _answers(made.artifact, ROWS[400:]), _predict(fewer, ROWS[400:]).reshape(169, -1), atol=1e-4
    )
    assert len(made.artifact) < 0.7 * len(_lowered("float64-onnx", model, tmp_path, task).artifact)
    assert made.options["trees"] == {"count": 6, "of": 12}
    assert _lowered("trees-half", model, tmp_path, task).artifact == made.artifact


def test_an_isolation_forest_loses_trees_too(tmp_path):
    model = ensemble.IsolationForest(n_estimators=20, random_state=0).fit(ROWS)
    cut = copy.deepcopy(model)
    assert sklearn_trees.fewer(cut, 0.25) == (20, 5)
    made = _lowered("trees-quarter", model, tmp_path, "anomaly")
    np.testing.assert_allclose(_answers(made.artifact, ROWS[:50]).ravel(), -cut.decision_function(ROWS[:50]), atol=1e-4)


@pytest.mark.parametrize("kind", [*FORESTS, DecisionTreeClassifier])
def test_shallower_trees_answer_with_the_mean_of_the_node_where_they_are_cut(tmp_path, kind):
    model = kind(random_state=0) if kind is DecisionTreeClassifier else _fitted(kind, 3)
    model.fit(ROWS, CLASSES)
    trees = [model] if kind is DecisionTreeClassifier else list(model.estimators_)
    before = [copy.deepcopy(tree.tree_) for tree in trees]
    deepest, depth = sklearn_trees.shallower(model, 0.5)
    assert (depth, deepest) == (-(-deepest // 2), max(tree.max_depth for tree in before))
    trees = [model] if kind is DecisionTreeClassifier else model.estimators_
    for old, new in zip(before, (tree.tree_ for tree in trees), strict=True):
        assert new.max_depth <= depth
        path = old.decision_path(ROWS.astype(np.float32)).tocsr()
        for row in range(0, len(ROWS), 60):
            # decision_path lists nodes by number, which in a tree grown depth first is from the root on.
            nodes = path.indices[path.indptr[row] : path.indptr[row + 1]]
            expected = old.value[nodes[min(depth, len(nodes) - 1)]]
            np.testing.assert_array_equal(new.predict(ROWS[row : row + 1].astype(np.float32)).ravel(), expected.ravel())


def test_trees_shallow_is_smaller_and_boosting_is_left_alone(tmp_path):
    model = _fitted(ensemble.RandomForestClassifier)
    plain = _lowered("float64-onnx", model, tmp_path)
    made = _lowered("trees-shallow", model, tmp_path)
    assert len(made.artifact) < len(plain.artifact)
    assert made.options["trees"]["depth"] < made.options["trees"]["of"]
    with pytest.raises(GateFailed, match="not a forest whose trees could be cut"):
        _lowered("trees-shallow", _fitted(ensemble.GradientBoostingClassifier), tmp_path)


@pytest.mark.parametrize("name", ["trees-half", "trees-quarter", "trees-shallow"])
def test_a_model_without_trees_is_a_no_op(tmp_path, name):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CLASSES)
    with pytest.raises(GateFailed, match="LogisticRegression is not a") as caught:
        _lowered(name, model, tmp_path)
    assert caught.value.code == GateCode.NO_OP


def test_float32_is_refused_behind_a_scaler_and_given_to_trees_alone(tmp_path):
    forest = ensemble.RandomForestClassifier(5, random_state=0)
    with pytest.raises(GateFailed, match="trees stand behind") as caught:
        _lowered("float32-cast", make_pipeline(StandardScaler(), forest).fit(ROWS, CLASSES), tmp_path)
    assert caught.value.code == GateCode.PARITY
    made = _lowered("float32-cast", forest.fit(ROWS, CLASSES), tmp_path)
    assert made.inputs[0].dtype == "float32"
    np.testing.assert_allclose(_answers(made.artifact, ROWS.astype(np.float32)), forest.predict_proba(ROWS), atol=1e-5)


RECIPE = """\
schema = "sprat.recipe/1"
model = "tissue"
task = "classification"
metric = "accuracy"
labels = ["bad", "good"]
prefer = ["size"]
[data]
label = "label"
[data.split]
train = 0.4
calibration = 0.1
validation = 0.1
test = 0.4
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
[gates]
max_drop = {drop}
min_agreement = 0.5
max_recall_drop = 1.0
"""
FACTORY = """\
from sklearn.datasets import load_breast_cancer
from sklearn.{module} import {kind}
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def data():
    rows, classes = load_breast_cancer(return_X_y=True)
    return {{"x": rows, "label": classes}}

def model(train, validation, *, seed):
    return make_pipeline(StandardScaler(), {kind}({settings})).fit(train.inputs["x"], train.labels)
"""


def _built(folder, capsys, *, drop, **factory):
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE.format(drop=drop))
    (folder / "factory.py").write_text(FACTORY.format(**factory))
    code = cli.main(["build", str(folder), "--out", str(folder / "out"), "--runner", "local", "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    document = json.loads(said.out)
    return document, {row["scheme"]: row for row in document["candidates"]}


@pytest.mark.slow
def test_a_forest_is_cut_as_far_as_the_gate_allows(tmp_path, capsys):
    boosting = {
        "module": "ensemble", "kind": "GradientBoostingClassifier", "settings": "n_estimators=80, random_state=seed",
    }  # fmt: skip
    document, rows = _built(tmp_path / "loose", capsys, drop=0.2, **boosting)
    assert rows["trees-quarter"]["chosen"]
    assert rows["trees-quarter"]["size"] < 0.4 * rows["float64-onnx"]["size"]
    assert rows["trees-quarter"]["drop_high"] >= rows["trees-quarter"]["drop"]
    assert rows["qdq-minmax-u8"]["reason"].startswith("no-op: nothing to quantize")
    assert rows["float32-cast"]["reason"].startswith("parity: trees stand behind")
    assert document["bundles"][0]["scheme"] == "trees-quarter"
    _, strict = _built(tmp_path / "strict", capsys, drop=0.0001, **boosting)
    assert strict["trees-quarter"]["reason"].startswith(("metric-drop: ", "outranked: "))
    assert strict["float64-onnx"]["drop_high"] == 0.0


@pytest.mark.slow
def test_a_small_network_in_a_pipeline_is_quantized_as_a_graph(tmp_path, capsys):
    _, rows = _built(
        tmp_path / "p", capsys, drop=0.1, module="neural_network", kind="MLPClassifier",
        settings="(128, 128), max_iter=60, random_state=seed",
    )  # fmt: skip
    sizes = {name: row["size"] for name, row in rows.items() if row["size"]}
    assert sizes["float32-cast"] < 0.55 * sizes["float64-onnx"]
    assert sizes["float16-onnx"] < 0.55 * sizes["float32-cast"]
    assert sizes["dynamic-onnx"] < 0.4 * sizes["float32-cast"]
    assert rows["float32-cast"]["reason"].startswith("outranked: ")
    assert rows["trees-half"]["reason"].startswith("no-op: MLPClassifier is not an ensemble")
    (chosen,) = [name for name, row in rows.items() if row["chosen"]]
    assert chosen in {"dynamic-onnx", "qdq-minmax-u8", "qdq-minmax-u8-pc", "qdq-percentile-u8-pc"}
