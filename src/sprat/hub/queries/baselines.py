"""The baseline that a bundle froze, by the bundle's digest, read from the published file and kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sprat.errors import BundleRefused, ContractError
from sprat.hub.store.fleet import FleetStore
from sprat_device.contract import bundle as bundles

KEPT: Final = 64
_log = logging.getLogger(__name__)


class Baselines:
    """Counts of each feature's and statistic's reference distribution; empty where the hub does not hold the bundle."""

    def __init__(self, store: FleetStore, targets: Path) -> None:
        self._store = store
        self._targets = targets
        self._kept: dict[str, Mapping[str, npt.NDArray[np.int64]]] = {}

    def __call__(self, digest: str) -> Mapping[str, npt.NDArray[np.int64]]:
        """Return feature or statistic -> counts."""
        if digest not in self._kept:
            found = self._read(digest)
            if found is None:
                return {}
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[digest] = found
        return self._kept[digest]

    def _read(self, digest: str) -> Mapping[str, npt.NDArray[np.int64]] | None:
        for release in self._store.releases.all():
            # Consistent snapshots put the digest in front of the file's name.
            folder = self._targets / release.channel / release.model / str(release.release_seq)
            path = folder / f"{release.bundle}.{release.target}.sprat"
            if release.bundle == digest and path.exists():
                return _counts(path)
        return None


def _counts(path: Path) -> Mapping[str, npt.NDArray[np.int64]]:
    try:
        with path.open("rb") as file, bundles.read(file) as bundle:
            return bundle.baseline().all_counts
    except (OSError, BundleRefused, ContractError) as exc:
        _log.warning("baseline of %s: %s", path.name, exc)
        return {}
