"""Where a wheelhouse comes from: a folder, or the hub; checked before anyone uses it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board.identity import Identity
from sprat_device.board.upkeep import environments, fetching, house
from sprat_device.board.upkeep.house import House
from sprat_device.board.upkeep.joining import Joining
from sprat_device.board.upkeep.places import Places
from sprat_device.board.upkeep.site import Site
from sprat_device.contract.errors import MachineLacks, WrongUse

_FETCHED: Final = ".fetched-"


@dataclass(frozen=True, slots=True)
class From:
    """Where the wheelhouse is: a folder, or the hub's, by name or runtime where it has several."""

    folder: Path | None = None
    sha256: str = ""
    name: str = ""
    runtime: str = ""
    hub: str = ""
    """Another way to the hub than the enrolment told."""


@contextmanager
def wheelhouse(site: Site, source: From, joining: Joining, known: Identity | None) -> Iterator[House]:
    """Find the wheelhouse, bring it here if it is the hub's, and check that it fits and that every byte is right."""
    if source.folder is not None:
        found = house.open_house(source.folder, sha256=source.sha256)
        house.require_fit(found.manifest, site.machine)
        site.say(f"checking {source.folder}")
        house.verify(found)
        yield found
        return
    if known is None and not joining.token:
        raise WrongUse("no wheelhouse is named; give --wheelhouse DIR, or --hub and --token")
    if known:
        hub = fetching.by_certificate(known, source.hub or joining.hub)
    else:
        hub = fetching.by_token(joining.hub, joining.token)
    wanted = fetching.choose(hub.listed(), site.machine, name=source.name, runtime=source.runtime)
    environments.require_room(site.at.home, wanted.sealed_bytes + wanted.installed_bytes)
    with _scratch(site.at) as folder:
        site.say(f"fetching wheelhouse {wanted.name} ({wanted.sealed_bytes / 1e6:.0f} MB) from {hub.url}")
        yield hub.fetch(wanted, folder / wanted.name)


def require_packages(site: Site, found: House) -> None:
    """Have the system bring what no wheel does, or say what to install."""
    lacking = site.machine.lacking(found.manifest.debian)
    if lacking and site.apt:
        site.say(f"installing {' '.join(lacking)} from Debian")
        site.machine.install_packages(lacking)
        lacking = site.machine.lacking(found.manifest.debian)
    if lacking:
        raise MachineLacks(
            f"this board lacks Debian's {' '.join(lacking)}; apt-get install {' '.join(lacking)}, or give --apt"
        )


@contextmanager
def _scratch(at: Places) -> Iterator[Path]:
    """Give a folder on the disk of the environments (/tmp is memory on many boards), for the time of the block."""
    made = not at.home.exists()
    at.home.mkdir(mode=0o755, parents=True, exist_ok=True)
    _remove_left(at.home)
    folder = Path(tempfile.mkdtemp(prefix=_FETCHED, dir=at.home))
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder)
        if made and not any(at.home.iterdir()):
            at.home.rmdir()


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which the kernel takes back however this process ends; BlockingIOError if it is in use."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_left(home: Path) -> None:
    """Remove what killed commands have fetched: each is as large as an agent, and nobody else would."""
    for left in home.glob(f"{_FETCHED}*"):
        with suppress(BlockingIOError), _held(left):  # another command is at it
            shutil.rmtree(left)
