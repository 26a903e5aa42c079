"""scikit-learn steps that need care: refused by name, brought to plain form, or fed missing values."""

import pickle

import numpy as np
import onnxruntime
import pytest
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.impute._iterative import IterativeImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeRegressor
from tests.sklearn_models import lowered, research, run

from sprat.compiler.frontends import sklearn as frontend
from sprat.compiler.frontends import sklearn_answers, sklearn_missing
from sprat.compiler.proof import parity
from sprat.compiler.schemes import float64_onnx
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import PICKLE, Work
from sprat.errors import RecipeError

pytestmark = [
    pytest.mark.integration,
    # scikit-learn's own notes on fits this small.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning"),
    # skl2onnx writes truth values of HistGradientBoosting as integers, which protobuf refuses from 7 on.
    pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto.ints:DeprecationWarning"),
]

WINE = datasets.load_wine()
CODED = np.c_[WINE.data[:, :3], WINE.target % 2, np.arange(len(WINE.target)) // 2 % 4]


def _name(model):
    return type(model[-1] if hasattr(model, "steps") else model).__name__


def _scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


def _require_parity(model, rows, folder):
    """Fit on every second row and pass gate A on the others."""
    model.fit(rows[::2], WINE.target[::2])
    found = run(lowered(model, rows[::2], "classification", folder), rows[1::2], folder)
    verdict = parity.gate_a(research(model, rows[1::2], "classification"), found, classification=True)
    assert verdict.code is None, verdict.sentence


def _squared(values):
    return values**2


REFUSED = [
    (
        make_pipeline(SplineTransformer(extrapolation="linear"), LogisticRegression()),
        r"step 'splinetransformer' \(SplineTransformer\).*use extrapolation",
    ),
    (make_pipeline(FunctionTransformer(_squared), LogisticRegression()), r"functiontransformer.*one of numpy\.log, "),
    (
        make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}), LogisticRegression()),
        "one of numpy",
    ),
    (VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]), 'use voting="soft"'),
    (_scaled(KNeighborsClassifier(weights="distance")), 'use weights="uniform"'),
    (
        make_pipeline(QuantileTransformer(n_quantiles=10, output_distribution="normal"), LogisticRegression()),
        "PowerTransformer",
    ),
    (_scaled(CalibratedClassifierCV(LinearSVC(), method="isotonic")), 'use method="sigmoid"'),
    (_scaled(OneVsRestClassifier(LinearSVC())), "use LinearSVC alone"),
    (HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]), "put an OrdinalEncoder"),
    (make_pipeline(KNNImputer(weights=np.ones_like), LogisticRegression()), "knnimputer.*use weights="),
    (
        make_pipeline(IterativeImputer(DecisionTreeRegressor(), max_iter=1), LogisticRegression()),
        "iterativeimputer.*use its default estimator",
    ),
    (
        make_pipeline(IterativeImputer(sample_posterior=True, max_iter=1), LogisticRegression()),
        "iterativeimputer.*leave sample_posterior out",
    ),
    (make_pipeline(StandardScaler(), Nystroem(n_components=5), LogisticRegression()), "that skl2onnx converts"),
    (TransformedTargetRegressor(LinearRegression(), transformer=PowerTransformer()), "its inverse_func must be one"),
    (_scaled(NearestCentroid()), "step 'nearestcentroid'"),
]


@pytest.mark.parametrize(("model", "said"), REFUSED, ids=lambda value: "" if isinstance(value, str) else _name(value))
def test_what_cannot_be_converted_is_named_with_what_to_use_instead(model, said, tmp_path):
    model.fit(CODED[:, :3] - CODED[:, :3].min(axis=0) + (0 if "Hist" in _name(model) else 1), WINE.target)
    with pytest.raises(RecipeError, match=said) as caught:
        lowered(model, CODED[:, :3], "classification", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "task", "said"),
    [
        (_scaled(SVC(decision_function_shape="ovo")), "classification", 'use decision_function_shape="ovr"'),
        (GaussianMixture(2), "classification", "neither probabilities nor decision scores"),
        (_scaled(LogisticRegression()), "regression", "gives no values"),
        (_scaled(LogisticRegression()), "anomaly", "needs IsolationForest, OneClassSVM"),
    ],
)
def test_an_estimator_that_does_not_answer_the_task_is_told(model, task, said):
    rows = np.vstack([CODED, CODED + np.eye(5)[0]])
    model.fit(rows, np.arange(len(rows)) % 4)
    with pytest.raises(RecipeError, match=said):
        research(model, rows[:3], task)


PLAIN_FORM = {
    "search in a pipeline": _scaled(GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]})),
    "search of a pipeline": GridSearchCV(_scaled(SVC()), {"svc__C": [1, 2]}),
    "elimination": _scaled(RFE(LogisticRegression(), n_features_to_select=4), LogisticRegression()),
    "mask": make_pipeline(
        ColumnTransformer([("some", StandardScaler(), [True] * 5 + [False] * 8)]), LogisticRegression()
    ),
    "weights as a list": _scaled(
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft", weights=[1, 3])
    ),
    "sparse bins": make_pipeline(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), LogisticRegression()),
    "dropped column": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), slice(0, 3)), ("b", "drop", [3]), ("c", "passthrough", [4])]),
        LogisticRegression(max_iter=500),
    ),
}


@pytest.mark.parametrize("model", PLAIN_FORM.values(), ids=PLAIN_FORM.keys())
def test_other_ways_to_say_the_same_are_brought_to_what_the_converter_reads(model, tmp_path):
    _require_parity(model, WINE.data, tmp_path)


MISSING = WINE.data.copy()
MISSING[::7, 2] = np.nan


@pytest.mark.parametrize(
    "step",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value=-1.0),
        ColumnTransformer(
            [("a", SimpleImputer(), [1, 2]), ("b", make_pipeline(SimpleImputer(), StandardScaler()), [3])]
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "last", [RandomForestClassifier(5, random_state=0), LogisticRegression(max_iter=500)], ids=_name
)
def test_an_imputer_fills_in_float64_before_trees_and_others(step, last, tmp_path):
    model = make_pipeline(clone(step), last)
    _require_parity(model, MISSING, tmp_path)
    sklearn_missing.require_filled(model)


HOLED = WINE.data.copy()
HOLED[np.random.default_rng(0).random(HOLED.shape) < 0.15] = np.nan
EMPTY = HOLED.copy()
EMPTY[:, 4] = np.nan


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values:UserWarning")
@pytest.mark.parametrize("rows", [HOLED, EMPTY], ids=["holes", "a column without any value"])
@pytest.mark.parametrize(
    "step",
    [
        KNNImputer(),
        KNNImputer(n_neighbors=2, weights="distance", add_indicator=True),
        KNNImputer(n_neighbors=500, keep_empty_features=True),
        IterativeImputer(max_iter=3, random_state=0),
        IterativeImputer(Ridge(), max_iter=2, n_nearest_features=3, min_value=0, random_state=0, add_indicator=True),
        IterativeImputer(max_iter=2, keep_empty_features=True, initial_strategy="median", random_state=0),
    ],
    ids=str,
)
def test_an_imputer_that_looks_at_other_columns_fills_as_in_research(step, rows, tmp_path):
    model = make_pipeline(clone(step), StandardScaler(), LogisticRegression(max_iter=500))
    _require_parity(model, rows, tmp_path)
    sklearn_missing.require_filled(make_pipeline(clone(step), RandomForestClassifier()))
    probes = sklearn_missing.probes(rows, list(range(rows.shape[1])))
    # Each row beside a whole one: alone, scikit-learn does not iterate over a reading without any value.
    expected = research(model, np.concatenate([WINE.data[:1], probes]), "classification")[1:]
    # scikit-learn's distance of equal rows is some 1e-7 by rounding, ours is 0: of the weights no more is left than this.
    assert run(lowered(model, rows, "classification", tmp_path), probes, tmp_path) == pytest.approx(expected, abs=1e-6)


def test_a_reading_that_equals_a_training_row_takes_its_value(tmp_path):
    model = make_pipeline(KNNImputer(n_neighbors=3, weights="distance"), LogisticRegression(max_iter=500))
    model.fit(CODED, WINE.target)
    twins = np.repeat(CODED[:20], 2, axis=0)
    twins[::2, 0] = np.nan
    twins[1::2, 3] = np.nan
    found = run(lowered(model, CODED, "classification", tmp_path), twins, tmp_path)
    assert found == pytest.approx(research(model, twins, "classification"), abs=1e-9)


def test_missing_values_through_bare_trees_are_another_answer_in_onnx(tmp_path):
    model = RandomForestClassifier(5, random_state=0).fit(MISSING, WINE.target)
    holed = sklearn_missing.probes(WINE.data, list(range(WINE.data.shape[1])))
    found = run(lowered(model, MISSING, "classification", tmp_path), holed, tmp_path)
    off = np.abs(found - research(model, holed, "classification"))
    assert off.max() > 0.1
    for bare in (
        model,
        _scaled(model),
        VotingClassifier([("a", model), ("b", GaussianNB())]).fit(WINE.data, WINE.target),
    ):
        with pytest.raises(RecipeError, match=r"missing values reach .*RandomForestClassifier"):
            sklearn_missing.require_filled(bare)
    boosted = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    _require_parity(boosted, MISSING, tmp_path)
    sklearn_missing.require_filled(boosted)


def test_a_step_that_cannot_be_converted_is_told_before_the_long_training(tmp_path):
    (tmp_path / "factory.py").write_text(
        "from sklearn.linear_model import Ridge\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import SplineTransformer\n\n"
        "def model(train, validation, *, seed):\n"
        "    assert len(train.labels) < 1000, 'the long training'\n"
        "    return make_pipeline(SplineTransformer(extrapolation='linear'), Ridge()).fit(train.table(), train.labels)\n"
    )
    rows = np.random.default_rng(0).normal(size=(4000, 2))
    part = Part({"x": rows}, rows.sum(axis=1, keepdims=True))
    work = Work(str(tmp_path), "sklearn", "regression", "m", factory=str(tmp_path / "factory.py"), input_names=("x",))
    with pytest.raises(RecipeError, match="splinetransformer"):
        frontend.make(work, {"train": part, "validation": part})


@pytest.mark.parametrize(
    ("labels", "said"),
    [([1, 1, 1], "all 3 training rows are of class 1"), ([0, 2, 2], "no training row is of class 1")],
)
def test_labels_that_teach_nothing_are_refused(labels, said):
    with pytest.raises(RecipeError, match=said):
        sklearn_answers.require_classes(np.array(labels))


@pytest.mark.parametrize("model", [RandomForestClassifier(4, random_state=0), _scaled(LogisticRegression())], ids=_name)
def test_several_inputs_of_numbers_stand_side_by_side(model, tmp_path):
    model.fit(WINE.data, WINE.target)
    (tmp_path / PICKLE).write_bytes(pickle.dumps(model))
    parts = {"train": Part({"a": WINE.data[:, :5], "b": WINE.data[:, 5:]}, WINE.target)}
    made = float64_onnx.lower(
        Work(str(tmp_path), "sklearn", "classification", "m", input_names=("a", "b")), lambda: parts
    )
    found = onnxruntime.InferenceSession(made.artifact).run(None, dict(parts["train"].inputs))[-1]
    assert [facts.shape for facts in made.inputs] == [(-1, 5), (-1, 8)]
    assert np.abs(found - model.predict_proba(WINE.data)).max() < 1e-6
