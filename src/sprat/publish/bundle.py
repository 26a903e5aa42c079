"""Writes a bundle, byte-reproducibly: fixed times, fixed order, stored, the artifact first and aligned.

The alignment keeps a tensor at the same offset from one release to the next, which is what deltas live on.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Final

from sprat_device.contract import bundle as bundles
from sprat_device.contract.arrays import zip_entry
from sprat_device.contract.ids import Digest
from sprat_device.contract.manifest import Manifest

ALIGNMENT: Final = 64
_LOCAL_HEADER: Final = 30
_PADDING_ID: Final = 0xD935
"""The extra field that Android's zipalign uses for padding: readers skip it."""


def write_bundle(
    path: Path,
    *,
    manifest: Manifest,
    artifact: bytes,
    golden: bundles.GoldenSet,
    baseline: bundles.Baseline,
    card: str,
) -> Digest:
    """Write the bundle and return its SHA-256; a half-written file never stands under `path`."""
    golden_raw, baseline_raw = golden.dump(), baseline.dump()
    labels = json.dumps(list(manifest.labels), ensure_ascii=False).encode()
    partial = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_aligned(manifest.artifact.file), artifact)
            archive.writestr(zip_entry(bundles.MANIFEST), manifest.dump())
            archive.writestr(zip_entry(bundles.GOLDEN), golden_raw)
            archive.writestr(zip_entry(bundles.BASELINE), baseline_raw)
            archive.writestr(zip_entry(bundles.LABELS), labels)
            archive.writestr(zip_entry(bundles.CARD), card.encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return digest_of(path)


def digest_of(path: Path) -> Digest:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _aligned(name: str) -> zipfile.ZipInfo:
    """Return the first entry, its data beginning at a multiple of ALIGNMENT."""
    entry = zip_entry(name)
    padding = -(_LOCAL_HEADER + len(name) + struct.calcsize("<HH")) % ALIGNMENT
    entry.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
    return entry
