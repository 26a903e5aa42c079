"""The one verb of this room: `build(board, out)` writes the wheelhouse of one kind of board, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat.errors import MachineLacks, WrongUse
from sprat.publish.wheelhouse import pins, wheels
from sprat.publish.wheelhouse.agent import agent_wheel
from sprat.publish.wheelhouse.platforms import Platform
from sprat_device import VERSION
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.wheelhouse import MANIFEST, REQUIREMENTS, HouseFile, Wheelhouse

SCRIPTS: Final = ("install.sh", "install.py")
_SCRIPTS_FROM: Final = Path(__file__).parent / "board"


@dataclass(frozen=True, slots=True)
class Board:
    """The boards that a wheelhouse is for."""

    name: ModelName
    """Of the wheelhouse."""
    target: str
    platform: Platform
    runtime: str
    """The agent's extra of that name brings the runtime's wheel."""
    debian: Mapping[str, str]
    """Distribution -> Debian package, for what the board's own system must bring."""


@dataclass(frozen=True, slots=True)
class Built:
    """A wheelhouse on this machine's disk."""

    folder: Path
    house: Wheelhouse
    sha256: str
    """Of its manifest: what an operator may compare on a board that got it by a stick."""


def build(board: Board, out: Path, say: Callable[[str], None]) -> Built:
    """Write `out/<name>`, replacing an older one when the new one is whole."""
    folder, fresh = out / board.name, out / f".{board.name}.new"
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise WrongUse(f"{folder}: exists and is no wheelhouse; give another --out, or remove it")
    try:
        shutil.rmtree(fresh, ignore_errors=True)  # what a killed run left
        (fresh / "wheels").mkdir(parents=True)
    except OSError as exc:
        raise MachineLacks(f"{out}: {exc.strerror}; give an --out that you may write to") from exc
    try:
        house = _fill(fresh, board, say)
        _replace(folder, fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)  # nothing half-made stays behind
        raise
    return Built(folder, house, hashlib.sha256(house.dump()).hexdigest())


def _fill(folder: Path, board: Board, say: Callable[[str], None]) -> Wheelhouse:
    held = folder / "wheels"
    say("packing the agent")
    agent = agent_wheel(held)
    versions = pins.load(board.runtime)
    wheels.collect(agent, board.runtime, board.platform, versions, left_out=board.debian, folder=held, say=say)
    found = sorted(held.glob("*.whl"))
    (folder / REQUIREMENTS).write_text(wheels.requirements((wheel.name, _sha256(wheel)) for wheel in found), "utf-8")
    for name in SCRIPTS:
        shutil.copyfile(_SCRIPTS_FROM / name, folder / name)
    house = Wheelhouse(
        name=board.name,
        target=board.target,
        arch=(board.platform.arch,),
        python=board.platform.python,
        runtime=board.runtime,
        agent=VERSION,
        files=tuple(_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()),
        installed_bytes=wheels.unpacked_bytes(wheel for wheel in found if not wheel.name.startswith("pip-")),
        debian=tuple(sorted(board.debian.values())),
    )
    (folder / MANIFEST).write_bytes(house.dump())
    return house


def _file(folder: Path, path: Path) -> HouseFile:
    return HouseFile(path.relative_to(folder).as_posix(), _sha256(path), path.stat().st_size)


def _sha256(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _replace(folder: Path, fresh: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
