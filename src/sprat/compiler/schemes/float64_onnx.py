"""A scikit-learn pipeline as one ONNX graph that takes the raw readings as float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

from sprat.compiler.factory import Part
from sprat.compiler.frontends import onnx, sklearn
from sprat.compiler.work import Lowered, Work
from sprat.errors import RecipeError


def lower(work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
    """Convert with float64 input, a cast right before trees, and class scores as one tensor."""
    model = sklearn.load(work)
    (name,) = work.input_names
    width = parts()["train"].inputs[name].shape[1]
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    try:
        graph = convert_sklearn(
            model, name=work.model, initial_types=[(name, DoubleTensorType([None, width]))], options=options,
            target_opset={"": 21, "ai.onnx.ml": 3},
        )  # fmt: skip
    except (MissingConverter, MissingShapeCalculator) as exc:
        raise RecipeError(f"{type(model).__name__}: no way to ONNX ({str(exc).splitlines()[0]})") from exc
    if options is not None:
        # Of label and scores only the scores stay: the highest is the label, and near-ties have one judge, not two.
        del graph.graph.output[:-1]
    return onnx.lowered(graph.SerializeToString(deterministic=True), {"zipmap": False, "opset": 21, "input": "float64"})
