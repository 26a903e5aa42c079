"""The bundle, `name.sprat`: a stored zip of manifest, artifact, golden set, baseline, labels and card.

Reading one executes nothing, extracts nothing by name, and bounds every size before it reads. Digests of the parts
stand in the manifest and are compared as the parts are read; the bundle's own digest is signed by the release.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract import arrays, embedding
from sprat_device.contract import manifest as manifests
from sprat_device.contract.embedding import Space
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason

MANIFEST: Final = "manifest.json"
GOLDEN: Final = "golden.npz"
BASELINE: Final = "baseline.npz"
LABELS: Final = "labels.json"
CARD: Final = "card.md"
MAX_ARTIFACT: Final = 512 * 1024 * 1024
_BOUNDS: Final = {
    MANIFEST: manifests.MAX_SIZE,
    GOLDEN: 64 * 1024 * 1024,
    BASELINE: 8 * 1024 * 1024,
    LABELS: 1024 * 1024,
    CARD: 1024 * 1024,
    "model.tflite": MAX_ARTIFACT,
    "model.onnx": MAX_ARTIFACT,
}
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Readings and, for each runtime, the artifact's raw output tensors for them; every array is [count, ...]."""

    inputs: Mapping[str, npt.NDArray[Any]]
    outputs: Mapping[str, Mapping[str, npt.NDArray[Any]]]

    def dump(self) -> bytes:
        """Encode, byte-reproducibly."""
        flat = {f"input/{name}": array for name, array in self.inputs.items()}
        for runtime, outputs in self.outputs.items():
            flat |= {f"output/{runtime}/{name}": array for name, array in outputs.items()}
        return arrays.dump(flat)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference distribution for drift: per feature increasing edges [n] and counts [n + 1]; counts per class.

    The same of figures worked out of a reading or an answer (statistics.py); bundles of earlier builds hold none. Where
    the manifest names an embedding, its space and the counts of its figures, among the statistics (embedding.py).
    """

    edges: Mapping[str, npt.NDArray[np.float64]]
    counts: Mapping[str, npt.NDArray[np.int64]]
    class_counts: npt.NDArray[np.int64]
    statistic_edges: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    statistic_counts: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    space: Space | None = None

    @property
    def all_counts(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the counts of features and statistics by name, as summaries tell of them."""
        return {**self.statistic_counts, **self.counts}

    def dump(self) -> bytes:
        """Encode, byte-reproducibly."""
        flat: dict[str, npt.NDArray[Any]] = {"classes": self.class_counts}
        flat |= {f"edges/{name}": array for name, array in self.edges.items()}
        flat |= {f"counts/{name}": array for name, array in self.counts.items()}
        # Under names of their own: an agent that does not know statistics refuses a feature that no input has.
        flat |= {f"statistic-edges/{name}": array for name, array in self.statistic_edges.items()}
        flat |= {f"statistic-counts/{name}": array for name, array in self.statistic_counts.items()}
        flat |= {f"embedding/{name}": array for name, array in (self.space.dump() if self.space else {}).items()}
        return arrays.dump(flat)


class Bundle:
    """An open bundle; it reads parts from its file when they are asked for."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def golden(self) -> GoldenSet:
        """Read the golden set, its digest checked."""
        raw = self._part(GOLDEN, self.manifest.golden.sha256)
        with _damage_refused():
            flat = arrays.parse(raw, max_bytes=_BOUNDS[GOLDEN])
        inputs = {name.removeprefix("input/"): array for name, array in flat.items() if name.startswith("input/")}
        outputs: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for name, array in flat.items():
            match name.split("/", 2):
                case ["output", runtime, output]:
                    outputs.setdefault(runtime, {})[output] = array
        every = [*inputs.values(), *(array for by_name in outputs.values() for array in by_name.values())]
        if not inputs or any(array.ndim < 1 or len(array) != self.manifest.golden.count for array in every):
            raise BundleRefused(
                Reason.BAD_BUNDLE, f"golden set: expected {self.manifest.golden.count} rows in each array"
            )
        return GoldenSet(inputs, outputs)

    def baseline(self) -> Baseline:
        """Read the baseline, its digest checked."""
        raw = self._part(BASELINE, self.manifest.baseline_sha256)
        with _damage_refused():
            flat = arrays.parse(raw, max_bytes=_BOUNDS[BASELINE])
        edges, counts = _under("edges/", flat), _under("counts/", flat)
        more_edges, more_counts = _under("statistic-edges/", flat), _under("statistic-counts/", flat)
        if "classes" not in flat or not (_fit(edges, counts) and _fit(more_edges, more_counts)):
            raise BundleRefused(Reason.BAD_BUNDLE, "baseline: edges, counts and classes do not fit each other")
        with _damage_refused():
            space = embedding.parse(_under("embedding/", flat))
        return Baseline(edges, counts, flat["classes"], more_edges, more_counts, space)

    def card(self) -> str:
        """Read the model's card."""
        with _damage_refused():
            return self._archive.read(CARD).decode("utf-8", "replace")

    def copy_artifact(self, into: BinaryIO) -> None:
        """Write the artifact to an open file, its digest checked on the way; OSError where it cannot be written."""
        artifact = self.manifest.artifact
        digest = hashlib.sha256()
        for chunk in self._chunks(artifact.file):
            digest.update(chunk)
            into.write(chunk)  # a full disk here is no damage of the bundle
        _require_digest(artifact.file, digest.hexdigest(), artifact.sha256)

    def _chunks(self, name: str) -> Iterator[bytes]:
        with _damage_refused(), self._archive.open(name) as source:
            while chunk := source.read(_CHUNK):
                yield chunk

    def _part(self, name: str, sha256: str) -> bytes:
        with _damage_refused():
            raw = self._archive.read(name)
        _require_digest(name, hashlib.sha256(raw).hexdigest(), sha256)
        return raw

    def close(self) -> None:
        """Close the archive (the file stays the caller's)."""
        self._archive.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _under(prefix: str, flat: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in flat.items() if name.startswith(prefix)}


def _fit(edges: Mapping[str, npt.NDArray[Any]], counts: Mapping[str, npt.NDArray[Any]]) -> bool:
    return edges.keys() == counts.keys() and all(counts[name].shape == (len(edges[name]) + 1,) for name in edges)


def read(file: BinaryIO) -> Bundle:
    """Open a bundle and read its manifest, or raise BundleRefused."""
    with _damage_refused():
        return _read(file)


def _read(file: BinaryIO) -> Bundle:
    archive = zipfile.ZipFile(file)
    names = [entry.filename for entry in archive.infolist()]
    unknown = set(names) - _BOUNDS.keys()
    if unknown or len(names) != len(set(names)):
        raise ContractError(f"bundle: unexpected or doubled entry {min(unknown or set(names))[:80]!r}")
    for entry in archive.infolist():
        arrays.require_stored(entry, _BOUNDS[entry.filename])
    manifest = manifests.parse(archive.read(MANIFEST))
    missing = {MANIFEST, GOLDEN, BASELINE, LABELS, CARD, manifest.artifact.file} - set(names)
    if missing:
        raise ContractError(f"bundle: {min(missing)!r} is missing")
    if archive.getinfo(manifest.artifact.file).file_size != manifest.artifact.size:
        raise ContractError("bundle: the artifact is not as long as its manifest says")
    return Bundle(archive, manifest)


@contextmanager
def _damage_refused() -> Iterator[None]:
    """Turn whatever zip reading finds wrong into a refusal."""
    try:
        yield
    except BundleRefused:
        raise
    except ContractError as exc:
        raise BundleRefused(Reason.BAD_BUNDLE, str(exc)) from exc
    except arrays.DAMAGE as exc:
        raise BundleRefused(Reason.BAD_BUNDLE, f"bundle: not readable ({exc}); expected a .sprat file, whole") from exc


def _require_digest(name: str, found: str, expected: str) -> None:
    if found != expected:
        raise BundleRefused(Reason.HASH_MISMATCH, f"{name}: SHA-256 {found[:12]}…, its manifest says {expected[:12]}…")
