"""An artifact without a bundle, opened by whatever runtime of this machine reads it."""

from __future__ import annotations

from pathlib import Path

from sprat_device.contract.manifest import Format
from sprat_device.inference import runtimes
from sprat_device.inference.runtimes.raw import RawSession


def open_artifact(format_: Format, artifact: Path, *, threads: int = 1) -> RawSession:
    """Open an artifact with a runtime that reads its format, whatever its version."""
    anything = dict.fromkeys(sorted(runtimes.PACKAGES), "0")
    return runtimes.load(runtimes.choose(format_, anything, runtimes.available()), artifact, threads=threads)
