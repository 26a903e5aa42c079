"""A given `.onnx`: the research model is the file itself, each operator run as it stands, none fused or folded.

What the artifact gets differs from the file only where a device could not run it: open dimensions are fixed to the
rows', weights beside the file are taken in, and a classifier's label is left out where its scores are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from sprat.compiler.frontends import onnx_file, onnx_shapes, outputs
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Lowered, TensorFacts, Work
from sprat.errors import RecipeError

Rows = Mapping[str, npt.NDArray[Any]]

_BATCH: Final = 64
_FED: Final = frozenset({"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool", "string"})


@dataclass(frozen=True, slots=True)
class Given:
    """The file as a device can run it, and what was changed for that."""

    model: Any
    options: Mapping[str, Any]

    def dump(self, path: Path) -> bytes:
        """Return the file's own bytes where nothing was changed."""
        return self.model.SerializeToString(deterministic=True) if self.options else path.read_bytes()


def make(work: Work, parts: Mapping[str, Part]) -> dict[str, npt.NDArray[Any]]:
    """Answer every part with the file's own outputs."""
    model = given(work, parts).model
    # Where scales are found while running, a batch has other answers than its rows have alone.
    alone = any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node) or any(
        onnx_shapes.shape_of(value)[0] == 1 for value in onnx_shapes.graph_inputs(model)
    )
    run = _runner(model, work.given)
    batch = 1 if alone else _BATCH
    return {key: _answers(run, part.inputs, batch, work) for key, part in parts.items()}


def source_digest(work: Work) -> str:
    """Return the SHA-256 of the given file, and of those beside it that hold its weights."""
    path = Path(work.given)
    raw = path.read_bytes()
    digest = hashlib.sha256(raw)
    for beside in onnx_file.external_files(onnx_file.parse(raw, name=work.given), path.parent):
        digest.update(beside.read_bytes())
    return digest.hexdigest()


def given(work: Work, parts: Mapping[str, Part]) -> Given:
    """Read the file and make it fit for a device, or raise RecipeError."""
    path = Path(work.given)
    as_it_is = onnx_file.parse(_bytes(path), name=work.given)
    model = onnx_file.read(path)
    if work.stream:
        raise RecipeError("stream: a .onnx keeps no state between readings; leave [stream] out, one row a reading")
    _require_inputs(model, work)
    rows = {name: array[:1] for name, array in parts["train"].inputs.items()}
    left_out = _leave_out_labels(model, work)
    before = [onnx_shapes.shape_of(value) for value in model.graph.output]
    changed = onnx_shapes.fix(model, rows, name=work.given)
    one = _runner(model, work.given)(rows)
    for output in model.graph.output:
        onnx_shapes.require_rows(output.name, one[output.name], name=work.given)
    onnx_shapes.complete_outputs(model, one)
    said = {
        "weights_taken_in": bool(onnx_file.external_tensors(as_it_is)),
        "functions_inlined": len(as_it_is.functions),
        "outputs_left_out": left_out,
        "fixed_dimensions": changed,
        "output_shapes": [onnx_shapes.shape_of(value) for value in model.graph.output] != before,
    }
    return Given(model, {key: value for key, value in said.items() if value})


def lowered(artifact: bytes, options: Mapping[str, Any]) -> Lowered:
    """Read what an `.onnx` says of itself."""
    model = onnx_file.parse(artifact, name="the artifact")
    inputs = tuple(_facts(value) for value in onnx_shapes.graph_inputs(model))
    gives = tuple(_facts(value) for value in model.graph.output)
    ops = {
        f"{node.domain or 'ai.onnx'}.{node.op_type}" for graph in onnx_file.graphs(model.graph) for node in graph.node
    }
    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    return Lowered(artifact, inputs, gives, {**options, "opsets": opsets, "ir": model.ir_version}, tuple(sorted(ops)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise RecipeError(f"{path}: cannot be read ({exc.strerror})") from exc


def _require_inputs(model: Any, work: Work) -> None:
    names = [value.name for value in onnx_shapes.graph_inputs(model)]
    if sorted(names) != sorted(work.input_names):
        raise RecipeError(
            f"{work.given}: its inputs are {', '.join(names)}, the recipe's {', '.join(work.input_names)}; "
            "name the tables [inputs.NAME] as the file does"
        )
    for value in onnx_shapes.graph_inputs(model):
        _facts(value)


def _leave_out_labels(model: Any, work: Work) -> list[str]:
    """Take a classifier's labels out of the outputs where scores stand beside them: two judges of a near-tie differ."""
    facts = [_facts(value) for value in model.graph.output if value.name != work.embedding]
    scores = work.task == "classification" and any(fact.dtype.startswith("float") for fact in facts)
    out = [fact.name for fact in facts if scores and fact.dtype in {"int64", "string"} and len(fact.shape) <= 1]
    kept = [value for value in model.graph.output if value.name not in out]
    texts = [fact.name for fact in facts if fact.dtype == "string" and fact.name not in out]
    if texts:
        raise RecipeError(
            f"{work.given}: output {texts[0]!r} gives texts; export the scores too, or labels as whole numbers"
        )
    names = [value.name for value in kept if value.name != work.embedding]
    outputs.require_embedding(work.embedding, (value.name for value in kept))
    if len(names) > 1 and not work.answer:
        raise RecipeError(
            f'{work.given}: has the outputs {", ".join(names)}; say which is the answer: answer = ["{names[-1]}"]'
        )
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return out


def _facts(value: Any) -> TensorFacts:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type" or not value.type.tensor_type.elem_type:
        raise RecipeError(f"{value.name!r} is no tensor but a {kind or 'nothing'}; export it with zipmap off")
    dtype = onnx_shapes.numpy_dtype(value.type.tensor_type.elem_type)
    if dtype not in _FED:
        raise RecipeError(f"{value.name!r} has the type {dtype}, devices take {', '.join(sorted(_FED))}")
    return TensorFacts(value.name, dtype, onnx_shapes.shape_of(value))


def _runner(model: Any, name: str) -> Any:
    """Return what answers rows: every operator alone, on one thread, so that each run gives the same."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    names = [value.name for value in model.graph.output]
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:
        raise RecipeError(
            f"{name}: ONNX Runtime cannot load it ({_said(exc)}); export it in float32 with opset {onnx_file.OPSET}"
        ) from exc

    def run(rows: Rows) -> dict[str, npt.NDArray[Any]]:
        try:
            return dict(zip(names, session.run(names, onnx_shapes.fed(rows, model)), strict=True))
        except Exception as exc:
            raise RecipeError(f"{name}: ONNX Runtime cannot run it on the recipe's rows ({_said(exc)})") from exc

    return run


def _answers(run: Any, inputs: Rows, batch: int, work: Work) -> npt.NDArray[Any]:
    count = len(next(iter(inputs.values())))
    starts = range(0, count, batch)
    found = [run({name: array[start : start + batch] for name, array in inputs.items()}) for start in starts]
    return np.concatenate([outputs.joined(each, work.answer, beside=work.embedding) for each in found])


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split())[:160]
