"""The artifacts that sessions extract from bundles, `artifacts/<sha256>.<format>`: with a bundle its artifact goes too.

A session makes its file anew where it is missing, so nothing that is removed here keeps a bundle from being loaded.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from sprat_device.contract import bundle as bundles
from sprat_device.contract.errors import BundleRefused

_LOG: Final = logging.getLogger("sprat.agent")
_PART: Final = ".part"


def keep_only(cache: Path, held: Path) -> None:
    """Remove every artifact of which the folder `held` has no bundle; one that cannot be read keeps them all."""
    try:
        there = [path for path in cache.iterdir() if path.suffix != _PART] if cache.is_dir() else []
        kept = {_name(path) for path in held.glob("*.sprat")} if there else set()
        for path in there:
            if path.name not in kept:
                path.unlink(missing_ok=True)
    except (OSError, BundleRefused) as exc:
        _LOG.warning("artifacts of bundles that are gone may be left in %s (%s)", cache, exc)


def remove_parts(cache: Path) -> None:
    """Remove what a cut extraction left; to be called before any session is opened."""
    try:
        for path in cache.glob(f"*{_PART}"):
            path.unlink(missing_ok=True)
    except OSError as exc:
        _LOG.warning("what a cut left in %s cannot be removed (%s)", cache, exc)


def _name(bundle: Path) -> str:
    with bundle.open("rb") as file, bundles.read(file) as opened:
        artifact = opened.manifest.artifact
        return f"{artifact.sha256}.{artifact.format}"
