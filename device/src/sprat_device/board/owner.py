"""Whose the state folder is: what another user writes into it the agent could not read."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def become(state: Path) -> None:
    """Go on as the owner of a state folder where root was asked to write there; anybody else stays who he is."""
    try:
        facts = state.stat()
    except OSError:
        return  # whoever needs it says so
    if os.geteuid() != 0 or facts.st_uid == 0:
        return
    _take_groups(facts.st_uid, facts.st_gid)
    os.setgid(facts.st_gid)
    os.setuid(facts.st_uid)


def _take_groups(uid: int, gid: int) -> None:
    """Take the groups that give this user its sensors, and none of root's."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        os.setgroups([])
    else:
        os.initgroups(name, gid)
