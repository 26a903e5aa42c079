"""A wheelhouse on this machine's disk: nothing in it is used before its SHA-256 is that of the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sprat_device.board.upkeep.machine import Machine
from sprat_device.board.upkeep.places import BoardRefused
from sprat_device.contract import wheelhouse
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.wheelhouse import MANIFEST, HouseFile, Wheelhouse


@dataclass(frozen=True, slots=True)
class House:
    """A folder, what its manifest says, and the manifest's own digest."""

    folder: Path
    manifest: Wheelhouse
    sha256: str

    @property
    def environment(self) -> str:
        """Return the name of the environment that it makes: another build of the same version is another one."""
        return f"{self.manifest.agent}-{self.sha256[:12]}"

    def path(self, file: HouseFile) -> Path:
        """Return where a file lies."""
        return self.folder / file.name


def open_house(folder: Path, *, sha256: str = "") -> House:
    """Read a wheelhouse's manifest; `sha256` is what the operator expects it to be."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as exc:
        raise WrongUse(f"{folder}: no wheelhouse here ({exc.strerror}); make one with sprat wheelhouse") from exc
    found = hashlib.sha256(raw).hexdigest()
    if sha256 and found != sha256.lower():
        raise BoardRefused(
            "tampered",
            f"{folder / MANIFEST}: SHA-256 {found[:12]}…, expected {sha256[:12]}…; copy the wheelhouse again",
        )
    return House(folder, wheelhouse.parse(raw), found)


def require_fit(manifest: Wheelhouse, machine: Machine) -> None:
    """Refuse a wheelhouse that is for another machine or Python."""
    if machine.arch not in manifest.arch:
        raise BoardRefused(
            "wrong-arch", f"wheelhouse {manifest.name} is for {', '.join(manifest.arch)}, this board is {machine.arch}; "
            "build one for a target of this architecture",
        )  # fmt: skip
    if machine.python != manifest.python:
        raise BoardRefused(
            "wrong-python", f"wheelhouse {manifest.name} is for Python {manifest.python}, this board has "
            f"{machine.python}; build one with --python {machine.python}",
        )  # fmt: skip


def verify(house: House) -> None:
    """Compare every file with the manifest, or refuse the whole."""
    for file in house.manifest.files:
        path = house.path(file)
        try:
            with path.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as exc:
            raise BoardRefused("incomplete", f"{path}: {exc.strerror}; copy the wheelhouse again") from exc
        if found != file.sha256:
            raise BoardRefused(
                "tampered",
                f"{path}: SHA-256 {found[:12]}…, the manifest says {file.sha256[:12]}…; copy the wheelhouse again",
            )
