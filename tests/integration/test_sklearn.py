"""scikit-learn to ONNX with real estimators: each passes gate A on rows that it was not fitted on."""

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDOneClassSVM,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tests.sklearn_models import lowered, research, run

from sprat.compiler.frontends import sklearn_converters
from sprat.compiler.proof import parity

pytestmark = [
    pytest.mark.integration,
    # scikit-learn's own notes on fits this small.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning"),
    # skl2onnx writes truth values of HistGradientBoosting as integers, which protobuf refuses from 7 on.
    pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto.ints:DeprecationWarning"),
]

WINE = datasets.load_wine()
CANCER = datasets.load_breast_cancer()
DIABETES = datasets.load_diabetes(scaled=False)
CODED = np.c_[WINE.data[:, :3], WINE.target % 2, np.arange(len(WINE.target)) // 2 % 4]
"""Numbers and two columns of category codes."""


def _halves(rows, truth):
    return rows[::2], None if truth is None else truth[::2], rows[1::2]


def _require_parity(model, rows, truth, task, folder):
    """Fit on every second row, compare on the others, and return what was made."""
    fitted_on, labels, fresh = _halves(rows, truth)
    model.fit(fitted_on, labels)
    made = lowered(model, fitted_on, task, folder)
    expected = research(model, fresh, task)
    found = run(made, fresh, folder)
    verdict = parity.gate_a(expected, found, classification=task == "classification")
    assert verdict.code is None, verdict.sentence
    assert made.outputs[-1].shape == (-1, expected.shape[1])
    assert len(made.outputs) == 1
    return made


def _scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


CLASSIFIERS = [
    _scaled(LogisticRegression()),
    _scaled(SVC()),
    _scaled(LinearSVC()),
    _scaled(SGDClassifier(random_state=0)),
    _scaled(RidgeClassifier()),
    _scaled(KNeighborsClassifier()),
    _scaled(GaussianNB()),
    _scaled(MLPClassifier(hidden_layer_sizes=(8,), max_iter=200, random_state=0)),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(10, random_state=0),
    ExtraTreesClassifier(10, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    _scaled(AdaBoostClassifier(n_estimators=5, random_state=0)),
    _scaled(CalibratedClassifierCV(LinearSVC())),
    _scaled(VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")),
    _scaled(StackingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(5, random_state=0))])),
]


def _name(model):
    return type(model[-1] if hasattr(model, "steps") else model).__name__


@pytest.mark.parametrize("model", CLASSIFIERS, ids=_name)
@pytest.mark.parametrize("data", [WINE, CANCER], ids=["three-classes", "two-classes"])
def test_a_classifier_answers_as_in_research(model, data, tmp_path):
    made = _require_parity(model, data.data, data.target, "classification", tmp_path)
    assert made.options["answer"] == ("probabilities" if hasattr(model, "predict_proba") else "decision")


PAIR = np.c_[DIABETES.target, DIABETES.target * 2 + DIABETES.data[:, 2] * 50]


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        (_scaled(LinearRegression()), DIABETES.target),
        (_scaled(Ridge()), DIABETES.target),
        (_scaled(SVR()), DIABETES.target),
        (_scaled(KNeighborsRegressor()), DIABETES.target),
        (_scaled(MLPRegressor(hidden_layer_sizes=(8,), max_iter=100, random_state=0)), DIABETES.target),
        (DecisionTreeRegressor(random_state=0), DIABETES.target),
        (_scaled(RandomForestRegressor(10, random_state=0)), DIABETES.target),
        (_scaled(ExtraTreesRegressor(5, random_state=0)), DIABETES.target),
        (_scaled(GradientBoostingRegressor(n_estimators=5, random_state=0)), DIABETES.target),
        (_scaled(HistGradientBoostingRegressor(max_iter=5, random_state=0)), DIABETES.target),
        (_scaled(BaggingRegressor(n_estimators=4, random_state=0)), DIABETES.target),
        (TransformedTargetRegressor(_scaled(Ridge()), func=np.log, inverse_func=np.exp), DIABETES.target),
        (TransformedTargetRegressor(_scaled(SVR()), transformer=StandardScaler()), DIABETES.target),
        (TransformedTargetRegressor(RandomForestRegressor(4, random_state=0), transformer=MinMaxScaler()), PAIR),
        (
            _scaled(TransformedTargetRegressor(LinearRegression(), func=np.sqrt, inverse_func=np.square)),
            DIABETES.target,
        ),
        (_scaled(LinearRegression()), PAIR),
        (_scaled(RandomForestRegressor(5, random_state=0)), PAIR),
        (_scaled(KNeighborsRegressor()), PAIR),
        (_scaled(MLPRegressor(hidden_layer_sizes=(8,), max_iter=100, random_state=0)), PAIR),
        (MultiOutputRegressor(_scaled(GradientBoostingRegressor(n_estimators=4, random_state=0))), PAIR),
        (MultiOutputRegressor(_scaled(SVR())), PAIR),
    ],
    ids=lambda value: _name(value) if hasattr(value, "fit") else f"{value.ndim}d",
)
def test_a_regressor_gives_the_values_of_research(model, truth, tmp_path):
    _require_parity(model, DIABETES.data, truth, "regression", tmp_path)


COLUMNS = ColumnTransformer(
    [
        ("number", make_pipeline(StandardScaler(), PolynomialFeatures(2)), [0, 1]),
        ("bent", PowerTransformer(), [2]),
        ("kind", OneHotEncoder(handle_unknown="ignore"), [3, 4]),
    ]
)


@pytest.mark.parametrize(
    ("steps", "rows"),
    [
        ((SelectKBest(k=5),), WINE.data),
        ((VarianceThreshold(0.1),), WINE.data),
        ((SplineTransformer(),), WINE.data),
        ((SplineTransformer(4, degree=2, include_bias=False, extrapolation="continue"),), WINE.data[:, :3]),
        ((SelectFromModel(RandomForestClassifier(5, random_state=0)),), WINE.data),
        ((StandardScaler(), PolynomialFeatures(3, interaction_only=True)), WINE.data[:, :4]),
        ((StandardScaler(), PolynomialFeatures(3, include_bias=False)), WINE.data[:, :4]),
        ((PowerTransformer(),), WINE.data),
        ((PowerTransformer("box-cox", standardize=False), StandardScaler()), WINE.data),
        ((QuantileTransformer(n_quantiles=20),), WINE.data),
        ((MinMaxScaler(),), WINE.data),
        ((RobustScaler(),), WINE.data),
        ((KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),), WINE.data),
        ((StandardScaler(), PCA(3)), WINE.data),
        ((FeatureUnion([("a", StandardScaler()), ("b", make_pipeline(StandardScaler(), PCA(2)))]),), WINE.data),
        ((COLUMNS,), CODED),
        ((ColumnTransformer([("kind", OrdinalEncoder(), [3, 4])], remainder="passthrough"),), CODED),
    ],
    ids=lambda value: "-".join(type(step).__name__ for step in value) if isinstance(value, tuple) else "",
)
def test_what_comes_before_the_estimator_goes_into_the_graph(steps, rows, tmp_path):
    _require_parity(
        make_pipeline(*steps, LogisticRegression(max_iter=500)), rows, WINE.target, "classification", tmp_path
    )


@pytest.mark.parametrize(
    "function", [None, *sklearn_converters.COLUMN_MATHS], ids=lambda f: getattr(f, "__name__", "none")
)
def test_column_maths_by_numpy_is_converted(function, tmp_path):
    rows = np.abs(np.random.default_rng(0).normal(1, 1, (80, 3))) + 1e-3
    model = make_pipeline(FunctionTransformer(function), LinearRegression())
    _require_parity(model, rows, rows @ [1.0, -2.0, 0.5], "regression", tmp_path)


DETECTORS = [
    IsolationForest(n_estimators=20, random_state=0),
    _scaled(IsolationForest(n_estimators=20, max_features=0.5, max_samples=50, random_state=0)),
    _scaled(OneClassSVM()),
    _scaled(LocalOutlierFactor(novelty=True)),
    _scaled(EllipticEnvelope(random_state=0)),
    _scaled(KMeans(3, n_init=2, random_state=0)),
    _scaled(SGDOneClassSVM(random_state=0)),
]


@pytest.mark.parametrize("model", DETECTORS, ids=_name)
def test_an_anomaly_score_is_higher_for_what_is_unusual(model, tmp_path):
    made = _require_parity(model, WINE.data, None, "anomaly", tmp_path)
    odd = np.vstack([WINE.data[1::2], WINE.data.mean(axis=0) + 50 * WINE.data.std(axis=0)])
    scores = run(made, odd, tmp_path).ravel()
    assert scores[-1] == scores.max()
    assert made.outputs[0].name == "score"


def test_a_hundred_isolation_trees_are_one_operator(tmp_path):
    # skl2onnx makes a graph of each: 2 s to load. Told by the operators, not by a stopwatch.
    model = IsolationForest(n_estimators=100, random_state=0).fit(WINE.data)
    made = onnx.load_from_string(lowered(model, WINE.data, "anomaly", tmp_path).artifact)
    assert sum(node.op_type == "TreeEnsembleRegressor" for node in made.graph.node) == 1
    assert len(made.graph.node) < 12


NESTED = {
    "pipeline": _scaled(RandomForestRegressor(20, random_state=0)),
    "columns": make_pipeline(
        ColumnTransformer([("s", StandardScaler(), [0, 1, 2, 3, 4])], remainder=PowerTransformer()),
        RandomForestRegressor(20, random_state=0),
    ),
    "inside an ensemble": BaggingRegressor(_scaled(RandomForestRegressor(5, random_state=0)), 4, random_state=0),
}


@pytest.mark.parametrize("model", NESTED.values(), ids=NESTED.keys())
def test_trees_behind_a_scaler_flip_rows_without_the_cast_and_none_with_it(model, tmp_path):
    rows, truth, fresh = _halves(DIABETES.data, DIABETES.target)
    model.fit(rows, truth)
    expected = research(model, fresh, "regression")
    plain = to_onnx(model, rows[:1].astype(np.float32), target_opset={"": 21, "ai.onnx.ml": 3})
    wrong = np.abs(run(plain.SerializeToString(), fresh, tmp_path) - expected).ravel()
    right = np.abs(run(lowered(model, rows, "regression", tmp_path), fresh, tmp_path) - expected).ravel()
    assert np.sum(wrong > 0.05) > 10
    assert right.max() < 1e-3


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = make_pipeline(COLUMNS, RandomForestClassifier(3, random_state=0)).fit(CODED, WINE.target)
    first = lowered(model, CODED, "classification", tmp_path).artifact
    assert lowered(model, CODED, "classification", tmp_path).artifact == first
