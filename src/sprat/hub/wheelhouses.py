"""The wheelhouses of a hub: what `sprat wheelhouse --out HUB/wheelhouses` built, read anew for each request."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sprat.errors import ContractError
from sprat.hub.errors import NotFound
from sprat_device.contract.wheelhouse import MANIFEST, Wheelhouse, parse

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wheelhouses:
    """One folder of wheelhouses."""

    root: Path

    def all(self) -> tuple[Wheelhouse, ...]:
        """Return what each manifest says, the newest first; one that cannot be read is logged and left out."""
        manifests = sorted(self.root.glob(f"[a-z0-9]*/{MANIFEST}"), key=_made_ns, reverse=True)
        return tuple(house for path in manifests if (house := _read(path)))

    def file(self, name: str, wanted: str) -> Path:
        """Return one file that a manifest lists, or the manifest itself."""
        house = next((house for house in self.all() if house.name == name), None)
        if house is None or wanted not in {MANIFEST, *(file.name for file in house.files)}:
            raise NotFound(f"wheelhouse file {name[:63]}/{wanted[:120]}: no such file")
        return self.root / house.name / wanted

    def agent(self, sha256: str) -> Path:
        """Return the agent's wheel of that digest."""
        for house in self.all():
            if house.agent_wheel.sha256 == sha256:
                return self.root / house.name / house.agent_wheel.name
        raise NotFound(f"agent {sha256[:12]}: no wheelhouse here has it any more; make another token")

    def newest_agent(self) -> str:
        """Return the digest of the agent that was built last, empty where there is no wheelhouse."""
        return next((str(house.agent_wheel.sha256) for house in self.all()), "")


def _made_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0  # it is being built again, and is read or left out as it then is


def _read(path: Path) -> Wheelhouse | None:
    try:
        house = parse(path.read_bytes())
        found = house.agent_wheel and house.name
    except (OSError, ContractError) as exc:
        _log.warning("%s is left out: %s", path, exc)
        return None
    if found != path.parent.name:
        _log.warning("%s is left out: it says that its name is %s", path, found)
        return None
    return house
