"""What every verb works with: the places and the machine, how patient to be, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sprat_device.board.upkeep.machine import Machine
from sprat_device.board.upkeep.places import Places
from sprat_device.board.upkeep.watch import Patience


@dataclass(frozen=True, slots=True)
class Site:
    """One board."""

    at: Places
    machine: Machine
    patience: Patience
    say: Callable[[str], None]
    """Reports a step to people."""
    apt: bool = False
    """Let apt install what a wheelhouse leaves to Debian."""


@dataclass(frozen=True, slots=True)
class Done:
    """What there is after a set-up or an upgrade."""

    environment: str
    agent: str
    device: str
    upgraded_from: str = ""
