"""The body of a frame: zstd over msgpack, predictions as columns, everything else as rows.

Columns are numpy buffers: outputs as float16 (scores) or float32 (values), the running index and the times as
differences (they compress to almost nothing). Model, release and bundle stand once per frame, so a frame of
predictions belongs to one bundle. Every size is bounded before it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.frame import MAX_RECORDS
from sprat_device.contract.ids import Digest, ModelName, digest, model_name

SCHEMA: Final = "sprat.records/1"
NO_LABEL: Final = -1
MAX_PLAIN_BODY: Final = 4 * 1024 * 1024
"""No body unpacks to more than this, whatever it claims."""

_DTYPES: Final = frozenset({"<f2", "<f4", "<i2", "<i4", "<u4", "<i8"})
_WHOLE: Final = ("index", "mono_us", "label", "latency_us")
_MOST_LABEL: Final = 2**15 - 1
_LEVEL: Final = 3


class Origin(NamedTuple):
    """Which bundle made the records of a frame, and on which of the model's inputs; a tuple, since one is looked up for every prediction."""

    model: ModelName
    release_seq: int
    bundle: Digest
    input: str = ""
    """The input's name in the device's settings; empty for a model's only one."""


class Prediction(NamedTuple):
    """One answer of a session; a tuple, since one is made for every reading.

    `index` is the source's running number, `outputs` the scores of a classifier (shape [classes]) or the values of a
    regressor, `label` the position of the winning class or NO_LABEL; times in microseconds.
    """

    index: int  # type: ignore[assignment]  # in place of tuple.index, which nobody asks
    mono_us: int
    wall_us: int
    label: int
    outputs: npt.NDArray[np.float32]
    latency_us: int


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """The predictions of one frame: every column has shape [count], `outputs` [count, width]."""

    origin: Origin
    index: npt.NDArray[np.int64]
    mono_us: npt.NDArray[np.int64]
    label: npt.NDArray[np.int16]
    latency_us: npt.NDArray[np.uint32]
    outputs: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """An event, a summary, a gap or a capture: a code, when, and what it is about; plain msgpack values only."""

    code: str
    mono_us: int
    wall_us: int
    detail: Mapping[str, object]
    model: str = ""
    bundle: str = ""


def encode_predictions(origin: Origin, predictions: Sequence[Prediction], *, scores: bool) -> bytes:
    """Encode predictions of one bundle; `scores` says that outputs are probabilities (float16 is enough for them)."""
    index, mono_us, _wall_us, label, outputs, latency_us = zip(*predictions, strict=True)
    rows = np.concatenate(outputs).reshape(len(predictions), -1)
    columns = {
        "index": _column(_differences(np.array(index, np.int64))),
        "mono_us": _column(_differences(np.array(mono_us, np.int64))),
        "label": _column(_labels(np.array(label, np.int64))),
        "latency_us": _column(np.minimum(np.array(latency_us, np.int64), 2**32 - 1).astype("<u4")),
        "outputs": _column(rows.astype("<f2" if scores else "<f4")),
    }
    return _compress({
        "schema": SCHEMA, "model": origin.model, "release_seq": origin.release_seq, "bundle": origin.bundle,
        **({"input": origin.input} if origin.input else {}), "columns": columns,
    })  # fmt: skip


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Encode events, summaries, gaps or captures."""
    packed = [
        {
            "code": r.code,
            "mono_us": r.mono_us,
            "wall_us": r.wall_us,
            "detail": dict(r.detail),
            "model": r.model,
            "bundle": r.bundle,
        }
        for r in rows
    ]
    return _compress({"schema": SCHEMA, "rows": packed})


def decode(body: bytes, *, count: int) -> PredictionColumns | tuple[Row, ...]:
    """Decode a body that its header says holds `count` records, or raise ContractError."""
    fields = Fields(_decompress(body), "frame body")
    fields.schema(SCHEMA)
    columns = fields.mapping("columns", _parse_column, default={})
    decoded = _predictions(fields, columns) if columns else fields.items("rows", _parse_row)
    found = len(decoded.index) if isinstance(decoded, PredictionColumns) else len(decoded)
    if found != count:
        raise ContractError(f"frame body: {found} records, its header says {count}")
    return decoded


def _predictions(fields: Fields, columns: dict[str, npt.NDArray[Any]]) -> PredictionColumns:
    origin = Origin(
        fields.value("model", model_name),
        fields.integer("release_seq"),
        fields.value("bundle", digest),
        fields.text("input", default="", max_length=32),
    )
    missing = {*_WHOLE, "outputs"} - columns.keys()
    if missing:
        raise ContractError(f"frame body: column {min(missing)!r} is missing")
    outputs = columns["outputs"]
    lengths = {len(column) for column in columns.values()}
    if outputs.ndim != 2 or len(lengths) != 1 or any(columns[name].ndim != 1 for name in columns if name != "outputs"):
        raise ContractError("frame body: columns differ in length or rank")
    if (
        outputs.dtype.kind != "f"
        or any(columns[name].dtype.kind == "f" for name in _WHOLE)
        or columns["label"].min() < NO_LABEL
    ):
        raise ContractError(
            f"frame body: expected float outputs, whole numbers elsewhere and labels from {NO_LABEL} up"
        )
    return PredictionColumns(
        origin=origin,
        index=np.cumsum(columns["index"], dtype=np.int64),
        mono_us=np.cumsum(columns["mono_us"], dtype=np.int64),
        label=columns["label"].astype(np.int16),
        latency_us=columns["latency_us"].astype(np.uint32),
        outputs=outputs.astype(np.float32),
    )


def _labels(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Return labels as the wire has them; OverflowError for one that it cannot hold, which numpy 1 would only wrap."""
    if values.max() > _MOST_LABEL:
        raise OverflowError(f"label {values.max()}: a frame holds labels up to {_MOST_LABEL}")
    return values.astype("<i2")


def _differences(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    steps = np.diff(values, prepend=0)
    return steps.astype("<i4") if np.all(np.abs(steps) < 2**31) else steps.astype("<i8")


def _column(values: npt.NDArray[Any]) -> list[object]:
    return [values.dtype.str, list(values.shape), values.tobytes()]


def _parse_column(raw: object, where: str) -> npt.NDArray[Any]:
    match raw:
        case [str(dtype), list(shape), bytes(data)] if dtype in _DTYPES and 1 <= len(shape) <= 2:
            # Not isinstance: true is an int too, and no axis of an array.
            if not all(type(n) is int and 0 < n <= 2**20 for n in shape) or shape[0] > MAX_RECORDS:
                raise ContractError(f"{where}: impossible shape {shape}")
            if len(data) != int(np.prod(shape)) * np.dtype(dtype).itemsize:
                raise ContractError(f"{where}: {len(data)} bytes do not fill {dtype} {shape}")
            return np.frombuffer(data, dtype).reshape(shape)
        case _:
            raise ContractError(f"{where}: expected [dtype, shape, bytes] with a dtype of {sorted(_DTYPES)}")


def _parse_row(raw: object, where: str) -> Row:
    fields = Fields(raw, where)
    detail = fields.mapping("detail", lambda value, _where: value, default={})
    return Row(
        code=fields.text("code", max_length=64),
        mono_us=fields.integer("mono_us"),
        wall_us=fields.integer("wall_us", minimum=-(2**62)),
        detail=detail,
        model=fields.text("model", default="", max_length=63),
        bundle=fields.text("bundle", default="", max_length=64),
    )


def _compress(document: Mapping[str, object]) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(msgpack.packb(document))


def _decompress(body: bytes) -> object:
    try:
        # The declared size is checked first: decompress() would believe it and allocate.
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_PLAIN_BODY:
            raise ContractError(f"frame body: unpacks to {size} bytes, at most {MAX_PLAIN_BODY} are allowed")
        return msgpack.unpackb(zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_PLAIN_BODY))
    except (zstandard.ZstdError, msgpack.UnpackException, ValueError, RecursionError) as exc:
        raise ContractError(f"frame body: cannot be unpacked ({exc})") from exc
