"""The document `manifest.json` itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, anything, number, text
from sprat_device.contract.ids import Digest, ModelName, digest, model_name
from sprat_device.contract.manifest.golden import Golden, parse_golden
from sprat_device.contract.manifest.kinds import Format, Runtime, State, Task
from sprat_device.contract.manifest.tensors import EMBEDDING, TensorSpec, parse_tensor

SCHEMA: Final = "sprat.manifest/1"
MAX_SIZE: Final = 1024 * 1024


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
        for spec in (*own["inputs"], *own["outputs"]):
            if not spec["minimums"]:
                del spec["minimums"], spec["maximums"]
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
        inputs=fields.items("inputs", parse_tensor),
        outputs=fields.items("outputs", parse_tensor),
        labels=fields.items("labels", text),
        runtimes=fields.mapping("runtimes", text),
        golden=fields.value("golden", parse_golden),
        baseline_sha256=fields.value("baseline_sha256", digest),
        provenance=fields.mapping("provenance", anything, default={}),
        metric=fields.mapping("metric", number, default={}),
        state=fields.choice("state", State, default=State.NONE),
        preprocess=fields.mapping("preprocess", _steps, default={}),
        extra=fields.rest(),
    )
    _require_whole(manifest)
    return manifest


def _require_whole(manifest: Manifest) -> None:
    if not manifest.inputs or not manifest.outputs or not manifest.runtimes:
        raise ContractError("manifest: inputs, outputs and runtimes must each name at least one")
    unknown = set(manifest.runtimes) - set(Runtime)
    if unknown:
        raise ContractError(f"manifest.runtimes: unknown runtime {min(unknown)!r}, expected {', '.join(Runtime)}")
    unknown = set(manifest.preprocess) - {spec.name for spec in manifest.inputs}
    if unknown:
        raise ContractError(f"manifest.preprocess: {min(unknown)!r:.80} is no input of the model")
    _require_one_embedding(manifest.outputs)


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


def _steps(raw: object, where: str) -> tuple[Mapping[str, Any], ...]:
    """Read the steps of one input; which of them are known is decided where they are to be run."""
    if not isinstance(raw, list | tuple):
        raise ContractError(f"{where}: found {type(raw).__name__}, expected a list of steps")
    return tuple(_step(entry, f"{where}[{place}]") for place, entry in enumerate(raw))


def _step(raw: object, where: str) -> Mapping[str, Any]:
    fields = Fields(raw, where)
    fields.text("step", max_length=64)
    return {"step": fields.text("step"), **fields.rest()}
