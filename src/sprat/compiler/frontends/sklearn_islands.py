"""Float32 islands: estimators that ONNX Runtime has in float32 alone, inside a graph of float64.

scikit-learn's trees cast their rows to float32 themselves, right before the thresholds. So does the graph: what comes
before (a scaler, say) stays in float64, however deep the trees stand in pipelines and ensembles. A scaler in float32
would flip rows at the thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from onnx import TensorProto
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import ensemble, linear_model, preprocessing, svm, tree

_FLOAT32: Final[tuple[type, ...]] = (
    tree.DecisionTreeClassifier, tree.DecisionTreeRegressor, tree.ExtraTreeClassifier, tree.ExtraTreeRegressor,
    ensemble.RandomForestClassifier, ensemble.RandomForestRegressor,
    ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor,
    ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor,
    ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor,
    ensemble.AdaBoostClassifier, ensemble.AdaBoostRegressor,
    svm.SVR, svm.NuSVR, svm.OneClassSVM,
    linear_model.RidgeClassifier, linear_model.RidgeClassifierCV,
    preprocessing.KBinsDiscretizer, preprocessing.TargetEncoder,
)  # fmt: skip

Functions = Mapping[type, Callable[..., None]]


def converters() -> Functions:
    """Return skl2onnx's own converters, each with a cast before it and after it where the graph is float64."""
    return dict.fromkeys(_FLOAT32, _convert)


def shapes() -> Functions:
    """Return skl2onnx's own shape rules, with outputs as float64 where the input is."""
    return dict.fromkeys(_FLOAT32, _shape)


def _shape(operator: Any) -> None:
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    if double:
        # Some rules check for float32; they are asked as if the island were reached already.
        operator.inputs[0].type = FloatTensorType(operator.inputs[0].type.shape)
    try:
        get_shape_calculator(operator.type)(operator)
    finally:
        if double:
            operator.inputs[0].type = DoubleTensorType(operator.inputs[0].type.shape)
    for output in operator.outputs if double else ():
        if isinstance(output.type, FloatTensorType):
            output.type = DoubleTensorType(output.type.shape)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    source = operator.inputs[0]
    if not isinstance(source.type, DoubleTensorType):
        get_converter(operator.type)(scope, operator, container)
        return
    narrow = scope.declare_local_variable("float32_rows", FloatTensorType(source.type.shape))
    _cast(container, scope, source.full_name, narrow.full_name, TensorProto.FLOAT)
    inner = scope.declare_local_operator(operator.type, operator.raw_operator)
    inner.inputs.append(narrow)
    for output in operator.outputs:
        if not isinstance(output.type, DoubleTensorType):
            answer = scope.declare_local_variable("island", output.type)
            container.add_node("Identity", [answer.full_name], [output.full_name], name=_name(scope, "Identity"))
        else:
            answer = scope.declare_local_variable("island", FloatTensorType(output.type.shape))
            _cast(container, scope, answer.full_name, output.full_name, TensorProto.DOUBLE)
        inner.outputs.append(answer)


def _cast(container: Any, scope: Any, source: str, target: str, kind: int) -> None:
    container.add_node("Cast", [source], [target], name=_name(scope, "Cast"), to=kind)


def _name(scope: Any, what: str) -> str:
    name: str = scope.get_unique_operator_name(what)
    return name
