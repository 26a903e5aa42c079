"""Whose the state folder is: what another user writes into it the agent could not read."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from sprat_device.contract.errors import MachineLacks


def become(state: Path) -> None:
    """Go on as the owner of a state folder where root was asked to write there; anybody else stays who he is.

    MachineLacks where he may not look into the folder: to him everything in it would seem to be missing or damaged.
    """
    try:
        facts = state.stat()
    except PermissionError as exc:
        raise _closed(state) from exc
    except OSError:
        return  # whoever needs it says so
    if not os.access(state, os.R_OK | os.X_OK):
        raise _closed(state)
    if os.geteuid() != 0 or facts.st_uid == 0:
        return
    _take_groups(facts.st_uid, facts.st_gid)
    os.setgid(facts.st_gid)
    os.setuid(facts.st_uid)


def _closed(state: Path) -> MachineLacks:
    return MachineLacks(f"{state}: this user may not look into it; put sudo before the command")


def _take_groups(uid: int, gid: int) -> None:
    """Take the groups that give this user its sensors, and none of root's."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        os.setgroups([])
    else:
        os.initgroups(name, gid)
