"""Remove: everything that set-up made, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sprat_device.board import identity as identities
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.board.upkeep import places, service
from sprat_device.board.upkeep.site import Site
from sprat_device.contract.errors import MachineLacks


def remove(site: Site, *, keep_state: bool) -> str:
    """Take the agent off this board and return its id, empty if it had none.

    The record goes last and the command late, so the same one finishes what a cut left; after it, another set-up would.
    """
    at, record = site.at, places.load(site.at)
    device = _device(site)
    if at.unit.exists():
        site.machine.systemctl("disable", "--now", UNIT_NAME)
        at.unit.unlink()
    service.end_trial(site)
    site.machine.reload()
    if not keep_state:
        if at.state.exists():
            _clear(at.state)
        # While its files are there the user stays: they would belong to whoever got its number next.
        if record.user_made and site.machine.has_user(record.user):
            site.machine.drop_user(record.user)
    if at.command.is_symlink():
        at.command.unlink()
    at.current.unlink(missing_ok=True)
    shutil.rmtree(at.environments, ignore_errors=True)
    shutil.rmtree(at.home)
    return device


def _clear(state: Path) -> None:
    """Remove the state folder; a disk of its own, mounted or linked there, is emptied, for only its owner can take it away."""
    if not (state.is_mount() or state.is_symlink()):
        shutil.rmtree(state)
        return
    for path in state.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    # The agent's user goes: the folder must not be whoever's gets its number next.
    os.chown(state, os.geteuid(), os.getegid())


def _device(site: Site) -> str:
    try:
        return identities.load(site.at.state).device
    except MachineLacks:
        return ""
