"""Replace: this board becomes a device that the fleet knows already, under the same id, with a new key.

The new identity is made whole beside the old one. What belongs to another id is dropped first, then the two folders
change names, and the old one is removed last: so no cut lets an id speak of what another one has seen. A cut between the
two names is finished by the agent's next start. What is in the agent's folder is the agent's: root asks as its user.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from sprat_device.board import identity as identities
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import REPLACEMENT
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.board.upkeep import environments, places, service
from sprat_device.board.upkeep.joining import Joining, enrol
from sprat_device.board.upkeep.site import Site
from sprat_device.contract.errors import HubUnreachable, MachineLacks, WrongUse
from sprat_device.contract.ids import DeviceId

_OLD: Final = "identity.old"
_OWN: Final = ("spool", "desired.json", "reported.version", "status.json")
"""What belongs to the old id, counted and sent in its name: another id must not inherit it."""


def replace(site: Site, joining: Joining) -> DeviceId:
    """Give this board the identity of `joining.device` (its own, if left out), or leave the one that it has."""
    state, record = site.at.state, places.load(site.at)
    if not joining.token:
        raise WrongUse("--hub and --token are missing; `sprat enrol replace DEVICE` prints both")
    _finish_cut(state)
    before = _known(state)
    wanted = joining.device or before
    if not wanted:
        raise WrongUse("--device is missing; this board has no identity that could tell it")
    stage = state / REPLACEMENT
    site.say(f"asking {joining.hub} for a new certificate of {wanted}")
    try:
        got = enrol(site.at.current, Joining(joining.hub, joining.token, wanted), stage, site.machine.ids(record.user))
    except HubUnreachable:
        raise  # the answer may be lost: the key that the token is then bound to stays for the next try
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    try:
        site.machine.systemctl("stop", UNIT_NAME)
        if before != got.device:
            _forget(state)
        _exchange(state)
        site.machine.give(state, record.user)
    except BaseException:
        site.machine.restart()  # with whichever identity: until the next boot nobody else would
        raise
    if why := service.restart(site, environments.version(site.at.current)):
        raise MachineLacks(f"this board is {got.device} now, but {why}; see: {site.machine.journal()}")
    return got.device


def _known(state: Path) -> str:
    try:
        return identities.load(state).device
    except MachineLacks:
        return ""  # no identity, or a damaged one: that is what a replacement mends


def _exchange(state: Path) -> None:
    """Put the staged identity in place of the old one."""
    files = OsFiles()
    if (state / "identity").exists():
        files.rename(state / "identity", state / _OLD)
    files.rename(state / REPLACEMENT / "identity", state / "identity")
    files.sync_folder(state)
    shutil.rmtree(state / REPLACEMENT)
    shutil.rmtree(state / _OLD, ignore_errors=True)


def _finish_cut(state: Path) -> None:
    """Bring back what a power cut between the two renames left without a name."""
    old = state / _OLD
    if not old.exists():
        return
    if (state / "identity").exists():
        shutil.rmtree(old)
    else:
        old.rename(state / "identity")


def _forget(state: Path) -> None:
    for name in _OWN:
        path = state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    OsFiles().sync_folder(state)
