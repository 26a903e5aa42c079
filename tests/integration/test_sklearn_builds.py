"""Whole builds of scikit-learn projects, from the recipe to the answer of the device's session."""

import json

import numpy as np
import pytest

from sprat import cli, load
from sprat.compiler.build import build
from sprat.errors import RecipeError, WrongUse
from sprat_device.contract import bundle as bundles
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference import infer

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


def _project(folder, *, recipe, factory, schemes=('["float64-onnx"]')):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(f'schema = "sprat.recipe/1"\nmodel = "tiny"\nschemes = {schemes}\n{recipe}')
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
    result = _built(_project(tmp_path / "p", recipe=ANOMALY, factory=DETECTOR, schemes="[]"))
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


def test_columns_of_their_own_are_the_values_of_one_regression(tmp_path):
    recipe = PAIR.replace('label = "both"', 'label = "sum"\nmore_labels = ["product"]')
    factory = TWO_VALUES.replace(
        '"both": np.stack([x.sum(axis=1), x[:, 0] * x[:, 1]], axis=1)',
        '"sum": x.sum(axis=1), "product": x.prod(axis=1)',
    )
    folder = _project(tmp_path / "p", recipe=recipe, factory=factory)
    (made,) = _built(folder).bundles
    assert _manifest(made.path).outputs[0].features == ("sum", "product")
    with load(made.path) as model:
        (answer,) = model.run([[3.0, 1.0]])
    assert answer["outputs"] == pytest.approx([4.0, 3.0], abs=0.6)
    with pytest.raises(RecipeError, match=r"more_labels.*only a regression"):
        _built(folder, overrides=("task=anomaly", "metric=roc_auc"))
    with pytest.raises(RecipeError, match="column 'ratio' is missing"):
        _built(folder, overrides=('data.more_labels=["ratio"]',))


GAPS = """
task = "classification"
labels = ["low", "high"]
[data]
label = "high"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
features = ["a", "b"]
missing = "keep"
"""
HOLED = """
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression

def data():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    high = (a + b > 0).astype(int)
    a[rng.uniform(size=400) < 0.1] = np.nan
    return {"a": a, "b": b, "high": high}

def model(train, validation, *, seed, kind="imputed"):
    forest = RandomForestClassifier(10, max_depth=4, random_state=seed)
    first = ColumnTransformer([("a", SimpleImputer(), [0])], remainder="passthrough")
    made = {
        "imputed": make_pipeline(SimpleImputer(), StandardScaler(), forest),
        "boosted": HistGradientBoostingClassifier(max_iter=10, random_state=seed),
        "bare": make_pipeline(StandardScaler(), forest),
        "half": make_pipeline(first, StandardScaler(), forest),
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    }[kind]
    return made.fit(train.inputs["x"], train.labels)
"""


@pytest.mark.parametrize("kind", ["imputed", "boosted"])
def test_a_missing_value_is_filled_by_the_model_on_the_device_too(tmp_path, kind):
    folder = _project(tmp_path / "p", recipe=GAPS, factory=HOLED)
    (made,) = _built(folder, overrides=(f"train.kind={kind}",)).bundles
    manifest = _manifest(made.path)
    assert manifest.inputs[0].missing_allowed
    with load(made.path) as model:
        names = [answer["name"] for answer in model.run([[np.nan, 2.0], [2.0, np.nan], [np.nan, -2.0]])]
    assert names == ["high", "high", "low"]
    (folder / "rows.csv").write_text("a,b\n,2.0\n1.5,\n")
    answers = folder / "answers.csv"
    assert infer.main([str(made.path), str(folder / "rows.csv"), "--output", str(answers)]) == 0
    assert answers.read_text().count("high") == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("bare", "missing values reach step 'randomforestclassifier' (RandomForestClassifier)"),
        ("half", "missing values reach step 'randomforestclassifier' (RandomForestClassifier)"),
        ("linear", "training failed: ValueError: Input X contains NaN"),
    ],
)
def test_missing_values_that_nothing_fills_are_refused(tmp_path, kind, said):
    folder = _project(tmp_path / "p", recipe=GAPS, factory=HOLED)
    with pytest.raises(RecipeError) as caught:
        _built(folder, overrides=(f"train.kind={kind}",))
    assert said in str(caught.value)


WORDS = """
task = "classification"
labels = ["cold", "warm"]
[data]
label = "warm"
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.number]
features = ["a", "b"]
[inputs.word]
type = "text"
features = ["room", "day"]
"""
ENCODED = """
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

def data():
    rng = np.random.default_rng(0)
    room = rng.choice(["kitchen", "office", "cellar"], 400)
    day = rng.choice(["mon", "tue"], 400)
    a, b = rng.normal(size=(2, 400))
    return {"a": a, "b": b, "room": room, "day": day, "warm": ((room == "kitchen") | (a > 1)).astype(int)}

def model(train, validation, *, seed):
    columns = ColumnTransformer([
        ("number", StandardScaler(), [0, 1]),
        ("room", OneHotEncoder(handle_unknown="ignore"), [2]),
        ("day", OrdinalEncoder(), [3]),
    ])
    forest = RandomForestClassifier(20, max_depth=5, random_state=seed)
    return make_pipeline(columns, forest).fit(train.table(), train.labels)
"""
READINGS = {"number": [[0.0, 0.0], [0.0, 0.0]], "word": [["kitchen", "mon"], ["cellar", "tue"]]}


def test_text_categories_go_as_text_to_the_device(tmp_path):
    folder = _project(tmp_path / "p", recipe=WORDS, factory=ENCODED)
    (made,) = _built(folder).bundles
    manifest = _manifest(made.path)
    word = manifest.inputs[1]
    assert (word.name, word.dtype) == ("word", "string")
    assert word.categories == (("cellar", "kitchen", "office"), ("mon", "tue"))
    with load(made.path) as model:
        assert [answer["name"] for answer in model.run(READINGS)] == ["warm", "cold"]
        with pytest.raises(WrongUse, match="input-range"):
            model.run({"number": [[0.0, 0.0]], "word": [["attic", "mon"]]})
    (folder / "rows.csv").write_text("a,b,room,day\n0,0,kitchen,mon\n0,0,attic,mon\n")
    answers = folder / "answers.json"
    assert infer.main([str(made.path), str(folder / "rows.csv"), "--output", str(answers)]) == 0
    first, second = json.loads(answers.read_text())
    assert (first["name"], second["reason"]) == ("warm", "input-range")
    assert cli.main(["check", str(made.path), "--quiet"]) == 0


def test_unknown_text_may_be_allowed_and_synthetic_golden_rows_hold_known_words(tmp_path):
    folder = _project(tmp_path / "p", recipe=WORDS, factory=ENCODED)
    options = ("inputs.word.unknown=allow", "golden.inputs=synthetic")
    (made,) = _built(folder, overrides=options).bundles
    assert _manifest(made.path).inputs[1].categories == ()
    with load(made.path) as model:
        (answer,) = model.run({"number": [[0.0, 0.0]], "word": [["attic", "mon"]]})
    assert answer["name"] == "cold"
    with made.path.open("rb") as file, bundles.read(file) as bundle:
        golden = bundle.golden().inputs["word"]
    assert set(golden[:, 0]) <= {"cellar", "kitchen", "office"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"warm": ((', '"warm": 0 * (('), "all "),
        (("train.table()", 'train.inputs["word"]'), "training failed"),
    ],
)
def test_a_project_that_cannot_be_is_one_sentence(tmp_path, change, said):
    folder = _project(tmp_path / "p", recipe=WORDS, factory=ENCODED.replace(*change))
    with pytest.raises(RecipeError, match=said) as caught:
        _built(folder)
    assert "\n" not in str(caught.value)


def test_the_threshold_is_of_the_artifact_that_was_chosen(tmp_path):
    folder = _project(tmp_path / "p", recipe=ANOMALY, factory=DETECTOR, schemes='["trees-quarter"]')
    (made,) = _built(folder, overrides=("gates.max_drop=1", "gates.min_agreement=0")).bundles
    with np.load(made.test_set) as rows, load(made.path) as model:
        found = np.array([answer["label"] for answer in model.run(rows["x"])])
        odd = rows["labels"] == 1
    assert found[odd].mean() > 0.7
    assert found[~odd].mean() < 0.05


def test_unusual_rows_are_needed_to_judge_by(tmp_path):
    folder = _project(tmp_path / "p", recipe=ANOMALY, factory=DETECTOR.replace("% 12 == 0", "< 0"))
    with pytest.raises(RecipeError, match="all 120 test rows are 'normal'"):
        _built(folder)


def test_labels_out_of_range_are_told(tmp_path):
    factory = PLAIN.replace("flowers.target}", "flowers.target + 1}")
    with pytest.raises(RecipeError, match="found positions 1 to 3, expected 0 to 2"):
        _built(_project(tmp_path / "p", recipe=SVM, factory=factory))
