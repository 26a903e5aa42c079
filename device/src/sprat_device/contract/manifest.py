"""What a bundle says of itself: `manifest.json`, schema `sprat.manifest/1`.

It holds what decides the bytes and nothing that was measured on one machine (that stands in the signed release
metadata). Unknown fields survive a read-write in `extra`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, anything, integer, number, text
from sprat_device.contract.ids import Digest, ModelName, digest, model_name

SCHEMA: Final = "sprat.manifest/1"
EMBEDDING: Final = "embedding"
"""The meaning of an output that is no answer, but the model's own view of the reading (embedding.py)."""
MAX_SIZE: Final = 1024 * 1024
_DTYPES: Final = frozenset(
    {"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool", "string"}
)


class Format(StrEnum):
    """The artifact's file format."""

    TFLITE = "tflite"
    ONNX = "onnx"


class Runtime(StrEnum):
    """A program library that runs artifacts; its package and its check stand in `inference/runtimes`."""

    TFLITE = "tflite"
    LITERT = "litert"
    ONNX = "onnx"


class Task(StrEnum):
    """What the model does, which decides its metric and its post-processing."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


class State(StrEnum):
    """What a run of the artifact leaves behind for the next one."""

    NONE = "none"
    CLEARED = "cleared"
    """Kernels with a memory of their own, which each reading must find empty."""
    KEPT = "kept"
    """A stream: what came before is part of the answer, until the state is reset."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of the artifact.

    `shape` includes the batch as its first entry: 1 (fixed) or -1 (any). `scale` is 0 for a tensor that is not
    quantized. `minimum` and `maximum` are the range seen in training, in the unit; equal means unknown.
    With `missing_allowed` a reading may hold NaN for a value that is missing: the model fills it itself.
    `categories` are the texts that each feature of a text input may have; empty: any.
    `codes` are the numbers that each feature of a table may have where it holds codes; an empty list: any number.
    `features` names the last axis of a tabular or windowed input.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 0.0
    features: tuple[str, ...] = ()
    meaning: str = ""
    """What an output is: `probabilities`, `decision`, `label`, `values`, `score`, or `embedding`, which is no answer."""
    threshold: float | None = None
    """Of a `score`: a reading above it has label 1 (unusual), one at or below it label 0; None: no label."""
    missing_allowed: bool = False
    categories: tuple[tuple[str, ...], ...] = ()
    codes: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a golden output may be off: `lsb` counts quantization steps, `absolute` is in the output's own unit."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden set: its size and, for each runtime, the version that gave the outputs and how far they may be off."""

    count: int
    sha256: Digest
    tolerances: Mapping[str, Tolerance]
    versions: Mapping[str, str]
    sequence_rows: int = 0
    """Rows of one sequence of a stream: the state is reset before each; 0 where rows do not depend on each other."""
    embedding_tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """Of the embedding, for each runtime, where an output is one: its numbers have a size of their own."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """The one built file of the bundle."""

    file: str
    format: Format
    sha256: Digest
    size: int
    scheme: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a device or the hub must know of a bundle before it opens the artifact."""

    model: ModelName
    target: str
    task: Task
    artifact: Artifact
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    runtimes: Mapping[str, str]
    """Runtime name -> minimum version."""
    golden: Golden
    baseline_sha256: Digest
    provenance: Mapping[str, Any]
    """Source, splits, seeds, package versions, candidates, gates, metric: what people and `inspect` read."""
    metric: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    state: State = State.NONE
    preprocess: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """Input -> the steps from what its sensor gives to what the model takes, in order (`contract/preprocess`)."""

    @property
    def input_sig(self) -> str:
        """Return a short name of the inputs: equal for bundles that accept the same readings."""
        signed: list[object] = [(s.name, s.dtype, list(s.shape), s.unit, list(s.features)) for s in self.inputs]
        signed += [self.preprocess] * bool(self.preprocess)
        return hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()[:16]

    def dump(self) -> bytes:
        """Encode: the same manifest always gives the same bytes."""
        own = {name: value for name, value in asdict(self).items() if name != "extra"}
        if not self.preprocess:
            del own["preprocess"]  # a bundle without it keeps the bytes that it had before there was such a field
        if not self.golden.embedding_tolerances:
            del own["golden"]["embedding_tolerances"]
        document = {**self.extra, "schema": SCHEMA, **own}
        return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def parse(raw: bytes) -> Manifest:
    """Read a manifest, or raise ContractError."""
    if len(raw) > MAX_SIZE:
        raise ContractError(f"manifest of {len(raw)} bytes, at most {MAX_SIZE} are allowed")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"manifest: not JSON ({exc})") from exc
    fields = Fields(document, "manifest")
    fields.schema(SCHEMA)
    manifest = Manifest(
        model=fields.value("model", model_name),
        target=fields.value("target", model_name),
        task=fields.choice("task", Task),
        artifact=fields.value("artifact", _artifact),
        inputs=fields.items("inputs", _tensor),
        outputs=fields.items("outputs", _tensor),
        labels=fields.items("labels", text),
        runtimes=fields.mapping("runtimes", text),
        golden=fields.value("golden", _golden),
        baseline_sha256=fields.value("baseline_sha256", digest),
        provenance=fields.mapping("provenance", anything, default={}),
        metric=fields.mapping("metric", number, default={}),
        state=fields.choice("state", State, default=State.NONE),
        preprocess=fields.mapping("preprocess", _steps, default={}),
    )
    if not manifest.inputs or not manifest.outputs or not manifest.runtimes:
        raise ContractError("manifest: inputs, outputs and runtimes must each name at least one")
    unknown = set(manifest.runtimes) - set(Runtime)
    if unknown:
        raise ContractError(f"manifest.runtimes: unknown runtime {min(unknown)!r}, expected {', '.join(Runtime)}")
    unknown = set(manifest.preprocess) - {spec.name for spec in manifest.inputs}
    if unknown:
        raise ContractError(f"manifest.preprocess: {min(unknown)!r:.80} is no input of the model")
    _require_one_embedding(manifest.outputs)
    extra = fields.rest()
    return Manifest(**{name: getattr(manifest, name) for name in Manifest.__slots__ if name != "extra"}, extra=extra)


def _require_one_embedding(outputs: tuple[TensorSpec, ...]) -> None:
    found = [spec for spec in outputs if spec.meaning == EMBEDDING]
    if len(found) > 1:
        raise ContractError(f"manifest.outputs: {found[1].name!r:.80} is a second embedding, at most one is compared")
    if any(spec.dtype in {"string", "bool"} for spec in found):
        raise ContractError(f"manifest.outputs: the embedding {found[0].name!r:.80} is {found[0].dtype}, not numbers")


def _artifact(raw: object) -> Artifact:
    fields = Fields(raw, "artifact")
    artifact = Artifact(
        file=fields.text("file", max_length=64),
        format=fields.choice("format", Format),
        sha256=fields.value("sha256", digest),
        size=fields.integer("size", minimum=1),
        scheme=fields.text("scheme", max_length=64),
    )
    if artifact.file != f"model.{artifact.format}":
        raise ContractError(f"artifact.file: found {artifact.file!r}, expected 'model.{artifact.format}'")
    return artifact


def _tensor(raw: object, where: str) -> TensorSpec:
    fields = Fields(raw, where)
    spec = TensorSpec(
        name=fields.text("name", max_length=256),
        dtype=fields.text("dtype", max_length=16),
        shape=fields.items("shape", integer),
        scale=fields.number("scale", default=0.0),
        zero_point=fields.integer("zero_point", minimum=-(2**31), default=0),
        unit=fields.text("unit", default="", max_length=64),
        minimum=fields.number("minimum", default=0.0),
        maximum=fields.number("maximum", default=0.0),
        features=fields.items("features", text, default=()),
        missing_allowed=fields.boolean("missing_allowed", default=False),
        categories=fields.items("categories", _texts, default=()),
        codes=fields.items("codes", _numbers, default=()),
        meaning=fields.text("meaning", default="", max_length=64),
        threshold=None if fields.absent("threshold") else fields.number("threshold"),
    )
    if spec.dtype not in _DTYPES:
        raise ContractError(f"{where}.dtype: found {spec.dtype!r}, expected one of {', '.join(sorted(_DTYPES))}")
    if not spec.shape or spec.shape[0] not in (1, -1) or any(n < 1 for n in spec.shape[1:]):
        raise ContractError(
            f"{where}.shape: found {list(spec.shape)}, expected a batch of 1 or -1 and positive dimensions"
        )
    if spec.features and len(spec.features) != spec.shape[-1]:
        raise ContractError(f"{where}.features: {len(spec.features)} names for {spec.shape[-1]} columns")
    if spec.categories and (len(spec.categories) != spec.shape[-1] or spec.dtype != "string"):
        raise ContractError(
            f"{where}.categories: {len(spec.categories)} lists for {spec.shape[-1]} columns of {spec.dtype}"
        )
    if spec.codes and (len(spec.codes) != spec.shape[-1] or spec.dtype == "string"):
        raise ContractError(f"{where}.codes: {len(spec.codes)} lists for {spec.shape[-1]} columns of {spec.dtype}")
    return spec


def _numbers(raw: object, where: str) -> tuple[float, ...]:
    return Fields({where: raw}, "").items(where, number)


def _texts(raw: object, where: str) -> tuple[str, ...]:
    return Fields({where: raw}, "").items(where, text)


def _steps(raw: object, where: str) -> tuple[Mapping[str, Any], ...]:
    """Read the steps of one input; which of them are known is decided where they are to be run."""
    if not isinstance(raw, list | tuple):
        raise ContractError(f"{where}: found {type(raw).__name__}, expected a list of steps")
    return tuple(_step(entry, f"{where}[{place}]") for place, entry in enumerate(raw))


def _step(raw: object, where: str) -> Mapping[str, Any]:
    fields = Fields(raw, where)
    fields.text("step", max_length=64)
    return {"step": fields.text("step"), **fields.rest()}


def _golden(raw: object) -> Golden:
    fields = Fields(raw, "golden")
    return Golden(
        count=fields.integer("count", minimum=1, maximum=100_000),
        sha256=fields.value("sha256", digest),
        tolerances=fields.mapping("tolerances", _tolerance),
        versions=fields.mapping("versions", text),
        sequence_rows=fields.integer("sequence_rows", default=0, maximum=100_000),
        embedding_tolerances=fields.mapping("embedding_tolerances", _tolerance, default={}),
    )


def _tolerance(raw: object, where: str) -> Tolerance:
    fields = Fields(raw, where)
    tolerance = Tolerance(kind=fields.text("kind", max_length=16), value=fields.number("value"))
    if tolerance.kind not in {"lsb", "absolute"} or tolerance.value < 0:
        raise ContractError(f"{where}: expected kind lsb or absolute and a value >= 0")
    return tolerance
