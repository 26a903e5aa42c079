"""Reads an `.onnx` that nobody vouches for: each way in which it can be broken is one sentence with its remedy.

Weights in files beside it (external data) are taken in only from the model's own folder; the artifact is one file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_tensor

from sprat.errors import RecipeError

MAX_BYTES: Final = 2**31 - 1
"""Protobuf's limit for one message."""
OPSET: Final = 21
"""What to export with: every runtime version that a target declares knows it."""
_OLDEST_OPSET: Final = 7
_KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def read(path: Path) -> Any:
    """Return the model with its weights inside, or raise RecipeError."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecipeError(
                f"{path}: {size} bytes, a .onnx has at most {MAX_BYTES}; keep its weights in a file beside it"
            )
        model = parse(path.read_bytes(), name=str(path))
    except OSError as exc:
        raise RecipeError(f"{path}: cannot be read ({exc.strerror})") from exc
    for tensor in external_tensors(model):
        _take_in(tensor, path)
    require_valid(model, name=str(path))
    # PyTorch's exporter may write operators as functions of the file's own: from here on they are ONNX's.
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def parse(raw: bytes, *, name: str) -> Any:
    """Return the model in these bytes, its weights not looked at, or raise RecipeError."""
    try:
        model = onnx.load_from_string(raw)
    except (DecodeError, ValueError, RecursionError) as exc:
        raise RecipeError(f"{name}: not an .onnx, or one that is cut off; export or copy it again") from exc
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise RecipeError(f"{name}: not an .onnx (no graph in it); export it again")
    if model.ir_version > onnx.IR_VERSION:
        raise RecipeError(
            f"{name}: file format {model.ir_version}, known are those up to {onnx.IR_VERSION}; "
            f"export it with opset {OPSET}"
        )
    if not all(isinstance(text, str) for text in _texts(model)):
        raise RecipeError(f"{name}: not an .onnx (a name in it is no text); export or copy it again")
    for opset in model.opset_import:
        _require_known(opset.domain, opset.version, model, name)
    return model


def require_valid(model: Any, *, name: str) -> None:
    """Raise RecipeError where the model breaks a rule of ONNX."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, DecodeError) as exc:
        said = " ".join(str(exc).split())
        raise RecipeError(f"{name}: breaks a rule of ONNX ({said[:160]}); export it again with opset {OPSET}") from exc


def graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and those inside its nodes (If, Loop, Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from graphs(inner)


def external_tensors(model: Any) -> list[Any]:
    """Return the tensors, constants of nodes too, whose values lie in another file."""
    found = []
    for graph in graphs(model.graph):
        tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
        found += [t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]
    return found


def external_files(model: Any, folder: Path) -> list[Path]:
    """Return the files beside a model that hold its weights, in order."""
    return sorted({folder / _location(tensor) for tensor in external_tensors(model)})


def _texts(model: Any) -> Iterator[object]:
    """Yield every name; protobuf gives bytes where one is not UTF-8."""
    yield from (opset.domain for opset in model.opset_import)
    for graph in graphs(model.graph):
        yield from (value.name for value in (*graph.input, *graph.output, *graph.initializer))
        for node in graph.node:
            yield from (node.op_type, node.domain, node.name, *node.input, *node.output)


def _require_known(domain: str, version: int, model: Any, name: str) -> None:
    used = sorted({node.op_type for graph in graphs(model.graph) for node in graph.node if node.domain == domain})
    own = {(function.domain, function.name) for function in model.functions}
    used = [op for op in used if (domain, op) not in own]
    if domain not in _KNOWN_DOMAINS and used:
        raise RecipeError(
            f"{name}: operator {used[0]!r} of the domain {domain!r} is in no runtime here; export without custom operators"
        )
    newest = onnx.defs.onnx_opset_version()
    if domain in {"", "ai.onnx"} and not _OLDEST_OPSET <= version <= newest:
        raise RecipeError(
            f"{name}: opset {version}, known are {_OLDEST_OPSET} to {newest}; export it with opset {OPSET}"
        )


def _take_in(tensor: Any, path: Path) -> None:
    place = _location(tensor)
    folder = path.resolve().parent
    whole = folder / place
    if not place or Path(place).is_absolute() or not whole.resolve().is_relative_to(folder) or whole.is_symlink():
        raise RecipeError(
            f"{path}: weights {tensor.name!r} point to {place!r:.80}, outside the model's own folder; "
            "save it again with its weights inside"
        )
    if not whole.is_file():
        raise RecipeError(
            f"{path}: weights {tensor.name!r} lie in {place!r:.80}, which is not beside it; copy that too"
        )
    try:
        load_external_data_for_tensor(tensor, str(folder))
    except (onnx.checker.ValidationError, ValueError, OSError) as exc:
        raise RecipeError(f"{path}: weights {tensor.name!r} cannot be read from {place!r:.80} ({exc})") from exc
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _location(tensor: Any) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
