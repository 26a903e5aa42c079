"""Tells what a file is by its content: bundle, artifact, frame, arrays or signed metadata; nothing in it is executed.

Artifacts are read in the worker process, since a hostile one may crash its parser.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sprat.compiler.workers.jobs import JobFailed, Jobs
from sprat.data.table import read_table
from sprat.errors import BundleRefused, ContractError, RecipeError, WrongUse
from sprat_device.contract import bundle as bundles
from sprat_device.contract import frame as frames
from sprat_device.contract import records
from sprat_device.contract.manifest import Manifest
from sprat_device.contract.phases import Reason

MAX_PLAIN: Final = 64 * 1024 * 1024
_ARTIFACT_TIMEOUT_S: Final = 120.0
_SHOWN_ROWS: Final = 5


def read_bundle(path: Path) -> Manifest:
    """Open a bundle, compare every digest in it, and return its manifest."""
    with _opened(path) as file, bundles.read(file) as bundle:
        bundle.golden()
        bundle.baseline()
        bundle.copy_artifact(io.BytesIO())
        return bundle.manifest


def describe(path: Path) -> dict[str, Any]:
    """Return plain values about one file, or raise WrongUse for what it does not know."""
    with _opened(path) as file:
        head = file.read(16)
        file.seek(0)
        size = path.stat().st_size
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for matches, describer in _KINDS:
        if matches(head, path):
            return {"file": str(path), "size": size, "sha256": digest, **describer(path)}
    raise WrongUse(f"{path}: begins with {head[:8]!r}; expected a bundle, .tflite, .onnx, frame, .npz or TUF metadata")


def _bundle(path: Path) -> dict[str, Any]:
    manifest = read_bundle(path)
    with _opened(path) as file, bundles.read(file) as bundle:
        card, baseline = bundle.card(), bundle.baseline()
    return {
        "kind": "bundle",
        **json.loads(manifest.dump()),
        "input_sig": manifest.input_sig,
        "baseline_features": sorted(baseline.edges),
        "baseline_statistics": sorted(baseline.statistic_edges),
        "card": card.splitlines()[0] if card else "",
        "digests": "all match",
    }


def _npz_or_bundle(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            is_bundle = bundles.MANIFEST in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise BundleRefused(Reason.BAD_BUNDLE, f"{path}: not a readable archive ({exc})") from exc
    if is_bundle or path.suffix == ".sprat":
        return _bundle(path)
    table = read_table(path)
    return {"kind": "arrays", "arrays": {name: f"{a.dtype} {list(a.shape)}" for name, a in sorted(table.items())}}


def _artifact(kind: str) -> Callable[[Path], dict[str, Any]]:
    def describer(path: Path) -> dict[str, Any]:
        with (
            tempfile.TemporaryDirectory(prefix="sprat-inspect-") as folder,
            Jobs(log=Path(folder) / "log", timeout_s=_ARTIFACT_TIMEOUT_S) as jobs,
        ):
            try:
                return {"kind": kind, **jobs.describe(path, kind)}
            except (JobFailed, RecipeError) as exc:
                raise WrongUse(f"{path}: not a readable .{kind} ({exc})") from exc

    return describer


def _frame(path: Path) -> dict[str, Any]:
    frame = frames.open_frame(_plain(path))
    header = asdict(frame.header) | {"boot_id": frame.header.boot_id.hex(), "epoch": frame.header.epoch_hex}
    decoded = records.decode(frame.body, count=frame.header.count)
    found: dict[str, Any] = {"kind": "frame", "header": header}
    if isinstance(decoded, records.PredictionColumns):
        return found | {
            "origin": decoded.origin._asdict(),
            "index": [int(decoded.index[0]), int(decoded.index[-1])],
            "labels": decoded.label[:_SHOWN_ROWS].tolist(),
        }
    return found | {"rows": [asdict(row) for row in decoded[:_SHOWN_ROWS]]}


def _metadata(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_plain(path))
        signed = document["signed"]
        found = {
            "kind": f"{signed['_type']} metadata",
            "version": signed["version"],
            "expires": signed["expires"],
            "signed_by": [one["keyid"] for one in document["signatures"]],
        }
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise WrongUse(f"{path}: JSON, but no signed metadata ({exc})") from exc
    for key in ("roles", "meta", "targets", "delegations"):
        if key in signed:
            found[key] = signed[key]
    return found


def _plain(path: Path) -> bytes:
    if path.stat().st_size > MAX_PLAIN:
        raise ContractError(f"{path}: {path.stat().st_size} bytes, at most {MAX_PLAIN} are read")
    return path.read_bytes()


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as exc:
        raise WrongUse(f"{path}: cannot be read ({exc.strerror})") from exc


_KINDS: Final[tuple[tuple[Callable[[bytes, Path], bool], Callable[[Path], dict[str, Any]]], ...]] = (
    (lambda head, _path: head.startswith(b"PK"), _npz_or_bundle),
    (lambda _head, path: path.suffix == ".sprat", _bundle),
    (lambda head, _path: head.startswith(frames.MAGIC), _frame),
    (lambda head, _path: head[4:8] == b"TFL3", _artifact("tflite")),
    (lambda head, _path: head.lstrip().startswith(b"{"), _metadata),
    (lambda _head, path: path.suffix == ".onnx", _artifact("onnx")),
)
"""What a file begins with decides; ONNX has no mark of its own, so there the name has to."""
