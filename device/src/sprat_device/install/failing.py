"""What is counted against an offer: faults of the updater that works on it, and tries of the same bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Offer
from sprat_device.install.bounds import KILLED
from sprat_device.install.record import Install

_MENDABLE: Final = frozenset({2, 3, 4})
"""Exit codes that say what lacks at this machine: somebody mends it, and the same offer is good again."""


def reason_of(code: int) -> Reason:
    """Return what an exit code tells."""
    return Reason.OUT_OF_MEMORY if code in KILLED else Reason.UPDATER_FAILED


def counted(install: Install, code: int) -> Install:
    """Return the install with one failure more, unless somebody can mend what lacks."""
    if code in _MENDABLE:
        return install
    failures = install.failures + 1
    return replace(install, failures=failures).because(
        reason_of(code), f"updater ended {failures} times, last by {code}"
    )


def spent(offer: Offer, attempts: int, *, allowed: int) -> Install | None:
    """Return the refusal of an offer that would be tried once more than is allowed, else None."""
    if attempts <= allowed:
        return None
    return Install(Phase.REFUSED, offer, attempts=attempts).because(
        Reason.ATTEMPTS_SPENT, f"tried {attempts - 1} times before, {allowed} are allowed"
    )
