"""From a request's body to rows of inputs: JSON, the raw bytes of an only input, or `.npz`.

An array with one axis more than the manifest's row has is several rows. What does not fit otherwise is left for the
session's own check to name, so that a request and a stream are refused for the same reasons.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import arrays as contract_arrays
from sprat_device.contract.errors import ContractError, did_you_mean
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.serve.exchange import Row, Rows
from sprat_device.inference.serve.wire import JSON, Refusal, Request
from sprat_device.inference.sources.reading import as_declared
from sprat_device.inference.tensors import reading_dtype

RAW: Final = "application/octet-stream"
NPZ: Final = "application/x-npz"
_WRAPPED: Final = frozenset({"inputs", "begins"})
_MOST_ROWS: Final = 100_000
"""No queue has room for more (serve.queue), and each row costs hundreds of bytes: a body of single bytes would cost a GiB."""
_DTYPES: Final = frozenset(
    {"float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "bool"}
)

Arrays = Mapping[str, npt.NDArray[Any]]


def parse(request: Request, manifest: Manifest) -> Rows:
    """Return the rows of a request, or raise Refusal."""
    kind = request.head.content_type
    read = _READERS.get(kind)
    if read is None:
        raise Refusal(415, "bad-request", f"Content-Type: found {kind[:80]!r}, expected one of {', '.join(_READERS)}")
    return read(request, manifest)


def _json(request: Request, manifest: Manifest) -> Rows:
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, "bad-request", f"body: not JSON ({str(exc)[:100]})") from exc
    begins = False
    if isinstance(document, dict) and "inputs" in document and document.keys() <= _WRAPPED:
        begins, document = document.get("begins") is True, document["inputs"]
    if isinstance(document, list) and document and all(isinstance(row, dict) for row in document):
        return Rows([_row(row, manifest) for row in document], single=False, begins=begins)
    if isinstance(document, dict):
        return _split(_named(document, manifest), manifest, begins=begins)
    return _split({_only(manifest).name: _array(document, _only(manifest))}, manifest, begins=begins)


def _row(document: Mapping[str, object], manifest: Manifest) -> Row:
    rows = _split(_named(document, manifest), manifest, begins=False)
    if not rows.single:
        raise Refusal(
            422, Reason.INPUT_SHAPE, "inputs: a list of rows of which one holds several rows; expected one each"
        )
    return dict(rows.rows[0])


def _named(document: Mapping[str, object], manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of a mapping: by input, or by the features of an only input."""
    specs = manifest.inputs
    if len(specs) == 1 and specs[0].name not in document and specs[0].features:
        return {specs[0].name: _by_feature(document, specs[0])}
    for spec in specs:
        if spec.name not in document:
            near = did_you_mean(spec.name, document)
            found = ", ".join(document)[:200] or "none"
            raise Refusal(422, Reason.INPUT_MISSING, f"input {spec.name!r} is missing; found {found}{near}")
    return {spec.name: _array(document[spec.name], spec) for spec in specs}


def _by_feature(document: Mapping[str, object], spec: TensorSpec) -> npt.NDArray[Any]:
    for name in spec.features:
        if name not in document:
            raise Refusal(
                422, Reason.INPUT_MISSING,
                f"input {spec.name!r}: feature {name!r} is missing{did_you_mean(name, document)}",
            )  # fmt: skip
    columns = [_array(document[name], spec) for name in spec.features]
    if len({column.shape for column in columns}) != 1:
        raise Refusal(422, Reason.INPUT_SHAPE, f"input {spec.name!r}: its features have different numbers of values")
    return np.stack(columns, axis=-1)


def _array(value: object, spec: TensorSpec) -> npt.NDArray[Any]:
    try:
        array = as_declared(value, reading_dtype(spec))
    except ValueError as exc:
        raise Refusal(422, Reason.INPUT_DTYPE, f"input {spec.name!r}: {exc}") from exc
    if array is None:
        raise Refusal(422, Reason.INPUT_SHAPE, f"input {spec.name!r}: lists of different lengths side by side")
    return array


def _raw(request: Request, manifest: Manifest) -> Rows:
    spec = _only(manifest)
    dtype, shape = _raw_dtype(request, spec), _raw_shape(request, spec)
    size = dtype.itemsize * math.prod(shape)
    if not request.body or len(request.body) % size:
        raise Refusal(
            422, Reason.INPUT_SHAPE,
            f"body of {len(request.body)} bytes, expected {size} for each row: {dtype.name} {list(shape)}",
        )  # fmt: skip
    _require_few(len(request.body) // size)
    array = np.frombuffer(request.body, dtype.newbyteorder("<")).reshape(-1, *shape)
    if shape != spec.shape[1:]:  # what a sensor gives, for the bundle's pre-processing
        rows = [{spec.name: _array(row, spec)} for row in array]
        return Rows(rows, single=len(rows) == 1, begins=_begins(request))
    named = {spec.name: _array(array[0] if len(array) == 1 else array, spec)}
    return _split(named, manifest, begins=_begins(request))


def _raw_dtype(request: Request, spec: TensorSpec) -> np.dtype[Any]:
    name = request.head.query.get("dtype", reading_dtype(spec).name)
    if name not in _DTYPES:
        raise Refusal(
            415, Reason.INPUT_DTYPE, f"dtype {name[:20]!r} has no raw form; send {JSON}, or ?dtype= one of "
            f"{', '.join(sorted(_DTYPES))}",
        )  # fmt: skip
    return np.dtype(name)


def _raw_shape(request: Request, spec: TensorSpec) -> tuple[int, ...]:
    text = request.head.query.get("shape", "")
    if not text:
        return spec.shape[1:]
    if not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6}){0,4}", text):
        raise Refusal(
            400, "bad-request", f"?shape=: found {text[:40]!r}, expected the axes of a row, such as 480,640,3"
        )
    return tuple(map(int, text.split(",")))


def _npz(request: Request, manifest: Manifest) -> Rows:
    try:
        found = contract_arrays.parse(request.body, max_bytes=len(request.body))
    except ContractError as exc:
        raise Refusal(400, "bad-request", f"body: {exc}; numpy.savez writes what is expected") from exc
    return _split(_named(found, manifest), manifest, begins=_begins(request))


def _begins(request: Request) -> bool:
    return request.head.query.get("begins", "") == "true"


def _only(manifest: Manifest) -> TensorSpec:
    if len(manifest.inputs) == 1:
        return manifest.inputs[0]
    names = ", ".join(spec.name for spec in manifest.inputs)
    raise Refusal(422, Reason.INPUT_MISSING, f"the model has the inputs {names}; name them in JSON, or send {NPZ}")


def _split(found: Arrays, manifest: Manifest, *, begins: bool) -> Rows:
    """Return one row, or as many as the arrays have where they have one axis more than a row."""
    several = {name: len(found[name]) for name, spec in _specs(manifest) if found[name].ndim == len(spec.shape)}
    if not several:
        return Rows([dict(found)], begins=begins)
    count = several[next(iter(several))]
    if len(several) != len(found) or set(several.values()) != {count} or not count:
        told = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
        raise Refusal(422, Reason.INPUT_SHAPE, f"inputs of different or no rows: {told}")
    _require_few(count)
    rows = [{name: array[place] for name, array in found.items()} for place in range(count)]
    return Rows(rows, single=False, begins=begins)


def _require_few(count: int) -> None:
    if count > _MOST_ROWS:
        raise Refusal(413, "too-large", f"{count} rows at once, at most {_MOST_ROWS} are read; send fewer")


def _specs(manifest: Manifest) -> list[tuple[str, TensorSpec]]:
    return [(spec.name, spec) for spec in manifest.inputs]


_READERS: Final[Mapping[str, Callable[[Request, Manifest], Rows]]] = {JSON: _json, RAW: _raw, NPZ: _npz}
