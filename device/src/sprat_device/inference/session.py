"""A session: a bundle's artifact, loaded by one runtime and ready to run.

The artifact is extracted once, by its hash, into a cache folder (runtimes map files, not offsets in a zip), and hashed
again whenever it is loaded. A copy in the cache that is not what its name says is made anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract import bundle as bundles
from sprat_device.contract.bundle import Baseline, Bundle
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.contract.ids import Digest
from sprat_device.contract.manifest import Manifest, State, Task
from sprat_device.contract.phases import Reason
from sprat_device.inference import runtimes
from sprat_device.inference.answers import Answer, Outputs, answering, gives_scores
from sprat_device.inference.preparing import preparing
from sprat_device.inference.runtimes.raw import RawSession
from sprat_device.inference.tensors import InputSlot, match

Readings = Mapping[str, npt.NDArray[Any]]


class Session:
    """A loaded artifact with its bundle's facts; arrays come in the declared units."""

    def __init__(
        self, raw: RawSession, manifest: Manifest, digest: Digest, *, runtime: str, baseline: Baseline
    ) -> None:
        self.manifest = manifest
        self.bundle_digest = digest
        self.runtime = runtime
        self.runtime_version = raw.version
        self.baseline = baseline
        self.scores = gives_scores(manifest)
        self.anomaly = manifest.task is Task.ANOMALY
        self.prepare = preparing(manifest)
        """Makes what the model takes of what a source gives; None where the two are the same."""
        self._run = _cleared(raw) if manifest.state is State.CLEARED else raw.run
        self._raw = raw
        self._slots = [
            InputSlot(*pair) for pair in zip(manifest.inputs, match(manifest.inputs, raw.inputs), strict=True)
        ]
        out = zip(manifest.outputs, match(manifest.outputs, raw.outputs), strict=True)
        self._outputs = [(spec.name, tensor.name) for spec, tensor in out]
        self._as_named = all(name == raw_name for name, raw_name in self._outputs)
        self._answer: Callable[[Outputs], Answer] = answering(manifest)
        self.batches = _row_by_row(manifest) and all(
            spec.shape[0] == -1 for spec in (*manifest.inputs, *manifest.outputs)
        )
        """Whether several readings may be run at once: the artifact leaves its batch open, and no row sees another."""

    @classmethod
    def open(
        cls,
        bundle: Path,
        *,
        cache: Path,
        runtime: str | None = None,
        threads: int = 1,
        settings: RuntimeSettings | None = None,
        found: Mapping[str, str] | None = None,
    ) -> Self:
        """Load a bundle: BundleRefused says what is wrong with it, MachineLacks what this machine needs.

        `settings` say which runtime is preferred and how it runs, without them it is the bundle's first, with `threads`;
        `found` are the runtimes to choose from, by default all that are installed.
        """
        with open_file(bundle) as file:
            digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
            with bundles.read(file) as opened:
                manifest = opened.manifest
                name = runtimes.choose(
                    manifest.artifact.format,
                    manifest.runtimes,
                    runtimes.available() if found is None else found,
                    runtime=runtime,
                    prefer=settings.prefer if settings else (),
                )
                artifact = _extracted(opened, cache)
                baseline = opened.baseline()
        raw = runtimes.load(name, artifact, threads=threads, settings=settings)
        return cls(raw, manifest, digest, runtime=name, baseline=baseline)

    def check_input(self, readings: Readings) -> Reason | None:
        """Return why readings (without the batch axis) must not be run, or None."""
        for slot in self._slots:
            reason = slot.reason(readings.get(slot.name))
            if reason is not None:
                return reason
        return None

    def run_raw(self, inputs: Readings) -> dict[str, npt.NDArray[Any]]:
        """Run readings with the batch axis; return the artifact's own output tensors by the manifest's names."""
        raw = self._run({slot.raw_name: slot.tensor(inputs[slot.name]) for slot in self._slots})
        return raw if self._as_named else {name: raw[raw_name] for name, raw_name in self._outputs}

    def predict(self, readings: Readings) -> Answer:
        """Run checked readings without the batch axis."""
        raw = self._run({slot.raw_name: slot.tensor(readings[slot.name][None]) for slot in self._slots})
        return self._answer(raw if self._as_named else {name: raw[raw_name] for name, raw_name in self._outputs})

    def predict_many(self, readings: Sequence[Readings]) -> list[Answer]:
        """Run checked readings, each without the batch axis, at once; only where `batches` says so."""
        stacked = {slot.name: np.stack([one[slot.name] for one in readings]) for slot in self._slots}
        raw = self.run_raw(stacked)
        return [self._answer({name: rows[i : i + 1] for name, rows in raw.items()}) for i in range(len(readings))]

    def reset(self) -> None:
        """Begin a new sequence: a stream forgets what it has seen."""
        if self.manifest.state is State.KEPT:
            self._raw.restart()

    def answer(self, raw: Outputs) -> Answer:
        """Make an answer of one row's raw outputs."""
        return self._answer(raw)


def _row_by_row(manifest: Manifest) -> bool:
    """Tell whether a row's answer is the same in any batch: dynamic quantization scales over the whole of it."""
    return manifest.state is State.NONE and "dynamic" not in manifest.artifact.scheme


def _cleared(raw: RawSession) -> Callable[[Readings], dict[str, npt.NDArray[Any]]]:
    """Return a run that finds the kernels' memory empty, whatever was run before."""

    def run(inputs: Readings) -> dict[str, npt.NDArray[Any]]:
        raw.clear()
        return raw.run(inputs)

    return run


def open_file(bundle: Path) -> BufferedReader:
    """Open a bundle's file, or say that there is none."""
    try:
        return bundle.open("rb")
    except OSError as exc:
        raise WrongUse(f"bundle {bundle}: cannot be read ({exc.strerror})") from exc


def _extracted(bundle: Bundle, cache: Path) -> Path:
    """Return the artifact's file in the cache, its hash just checked."""
    artifact = bundle.manifest.artifact
    path = cache / f"{artifact.sha256}.{artifact.format}"
    if _digest_of(path) == artifact.sha256:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=cache, suffix=".part")
        try:
            # No fsync: a copy that a power cut tore does not have its hash, and is made anew.
            with os.fdopen(handle, "wb") as into:
                bundle.copy_artifact(into)
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        remedy = "free some space" if full else "let it be written, or choose another"
        raise MachineLacks(f"cache {cache}: cannot hold {artifact.size} bytes more ({exc.strerror}); {remedy}") from exc
    return path


def _digest_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
