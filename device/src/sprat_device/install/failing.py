"""An updater that ended by a fault: what it was, and when the offer that it worked on is given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sprat_device.contract.phases import Reason
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
