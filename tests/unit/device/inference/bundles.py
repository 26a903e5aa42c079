"""Tiny models for tests: a bundle around any artifact, a raw session without a runtime, and a recorder that keeps lists.

Nothing here needs the host's package: the tests of the device run where only the device is installed.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract import bundle as bundles
from sprat_device.contract.arrays import zip_entry
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import Artifact, Format, Golden, Manifest, Task, TensorSpec, Tolerance
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.runtimes.raw import RawTensor
from sprat_device.inference.session import Session

Arrays = Mapping[str, npt.NDArray[Any]]
INPUT = TensorSpec("x", "float32", (1, 3), minimum=0.0, maximum=10.0, features=("a", "b", "c"))
OUTPUT = TensorSpec("y", "float32", (1, 3), meaning="probabilities")
BASELINE = Baseline({"a": np.array([2.0, 4.0])}, {"a": np.array([1, 2, 3])}, np.array([1, 1, 1]))
DIGEST = Digest("ab" * 32)


def sha(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def manifest(
    *,
    inputs: tuple[TensorSpec, ...] = (INPUT,),
    outputs: tuple[TensorSpec, ...] = (OUTPUT,),
    labels: tuple[str, ...] = ("low", "middle", "high"),
    runtimes: Mapping[str, str] | None = None,
    format_: Format = Format.ONNX,
    task: Task = Task.CLASSIFICATION,
) -> Manifest:
    return Manifest(
        model=ModelName("tiny"),
        target="generic",
        task=task,
        artifact=Artifact(f"model.{format_}", format_, sha(b""), 1, "float32"),
        inputs=inputs,
        outputs=outputs,
        labels=labels,
        runtimes=dict(runtimes or {"onnx": "1.0"}),
        golden=Golden(1, sha(b""), {}, {}),
        baseline_sha256=sha(b""),
        provenance={},
    )


def write(
    path: Path,
    described: Manifest,
    artifact: bytes,
    golden: GoldenSet,
    *,
    tolerance: Tolerance,
    baseline: Baseline = BASELINE,
) -> Path:
    """Write a bundle as the build does, the digests in the manifest set here."""
    raw_golden, raw_baseline = golden.dump(), baseline.dump()
    count = len(next(iter(golden.inputs.values())))
    whole = replace(
        described,
        artifact=replace(described.artifact, sha256=sha(artifact), size=len(artifact)),
        golden=Golden(count, sha(raw_golden), dict.fromkeys(described.runtimes, tolerance), {}),
        baseline_sha256=sha(raw_baseline),
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zip_entry(whole.artifact.file), artifact)
        archive.writestr(zip_entry(bundles.MANIFEST), whole.dump())
        archive.writestr(zip_entry(bundles.GOLDEN), raw_golden)
        archive.writestr(zip_entry(bundles.BASELINE), raw_baseline)
        archive.writestr(zip_entry(bundles.LABELS), "[]")
        archive.writestr(zip_entry(bundles.CARD), "a card")
    return path


class PlainRaw:
    """The port of a raw session, answered by a function of the raw inputs."""

    version = "1.0"

    def __init__(
        self, inputs: tuple[RawTensor, ...], outputs: tuple[RawTensor, ...], function: Callable[[Arrays], Arrays]
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._function = function
        self.seen: list[Arrays] = []

    def run(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        self.seen.append(inputs)
        return dict(self._function(inputs))

    def clear(self) -> None:
        """Keep nothing: a function has no state."""

    def restart(self) -> None:
        """Keep nothing."""


def raw_tensor(spec: TensorSpec) -> RawTensor:
    return RawTensor(spec.name, spec.dtype, spec.shape, spec.scale, spec.zero_point)


def session(
    function: Callable[[Arrays], Arrays] = lambda inputs: {"y": inputs["x"]},
    described: Manifest | None = None,
    *,
    baseline: Baseline = BASELINE,
    digest: Digest = DIGEST,
) -> Session:
    """Return a session over a function; by default the model gives back its three inputs."""
    described = described or manifest()
    raw = PlainRaw(tuple(map(raw_tensor, described.inputs)), tuple(map(raw_tensor, described.outputs)), function)
    return Session(raw, described, digest, runtime="onnx", baseline=baseline)


class KeptRecords:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.predictions: list[tuple[Origin, Prediction]] = []
        self.unusual: list[int] = []
        self.events: list[tuple[str, Mapping[str, object], str]] = []
        self.summaries: list[tuple[Mapping[str, object], str]] = []

    def prediction(self, origin: Origin, prediction: Prediction, *, scores: bool, unusual: bool) -> None:
        self.predictions.append((origin, prediction))
        if unusual:
            self.unusual.append(prediction.index)

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        self.events.append((code, detail, bundle))

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        self.summaries.append((detail, bundle))
