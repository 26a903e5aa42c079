"""What may be good again without a new offer: a refusal for what was lacking here, a bundle that did not load.

Who looks whether it was mended goes the whole way again: nothing is believed for having been believed before. Tried at
a start, and later and later while the agent runs, with jitter, so that a fleet does not come back as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed
from sprat_device.install.record import OFFLINE, Install

MENDABLE: Final = frozenset({
    # this machine
    Reason.WRONG_RUNTIME, Reason.NO_RAM, Reason.NO_FLASH, Reason.OUT_OF_MEMORY, Reason.UPDATER_FAILED, Reason.NOT_PINNED,
    # the repository, its dates, and what this device knows of them
    Reason.METADATA_EXPIRED, Reason.METADATA_ROLLBACK, Reason.SIGNATURE, Reason.NOT_LISTED,
})  # fmt: skip
"""Reasons that say nothing of the bundle; any other refusal stays until another release is offered."""
_COSTLY: Final = frozenset({Reason.OUT_OF_MEMORY, Reason.UPDATER_FAILED})
REFUSED_S: Final = (600.0, 86_400.0)
LOADING_S: Final = (60.0, 3600.0)
"""The first and the longest time between two tries: of a refused offer, and of a bundle that did not load."""


@dataclass(slots=True)
class _Try:
    of: Installed
    at_us: int
    count: int = 0


class Mending:
    """When each thing is tried again; keys are models, or their shadows."""

    def __init__(self, clock: Clock, between_s: tuple[float, float], *, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._first_s, self._longest_s = between_s
        self._jitter = jitter
        self._tries: dict[str, _Try] = {}

    def found(self, key: str, install: Install) -> None:
        """Note what a start has found: it is tried at once, unless it may be what ends the agent again and again."""
        if mendable(install) and install.installed and install.reason not in _COSTLY:
            self._tries[key] = _Try(install.installed, self._clock.monotonic_us())

    def failed(self, key: str, of: Installed) -> None:
        """Note what has failed; it waits longer each time."""
        known = self._tries.get(key)
        count = known.count + 1 if known is not None and known.of == of else 1
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(count - 1, 20)) * (0.5 + 0.5 * self._jitter())
        self._tries[key] = _Try(of, self._clock.monotonic_us() + round(wait_s * 1e6), count)

    def waits(self, key: str, of: Installed) -> bool:
        """Tell whether this very thing has failed and its time has not come."""
        known = self._tries.get(key)
        return known is not None and known.of == of and self._clock.monotonic_us() < known.at_us

    def knows(self, key: str, of: Installed) -> bool:
        """Tell whether this very thing has failed, or was found."""
        known = self._tries.get(key)
        return known is not None and known.of == of

    def forget(self, key: str) -> None:
        """Forget what has come good, or is wanted no more."""
        self._tries.pop(key, None)

    def due(self, key: str, install: Install) -> bool:
        """Tell whether a refused offer shall go the whole way again now; the next time is set with that."""
        if not mendable(install) or install.installed is None:
            return False
        if not self.knows(key, install.installed):
            self.failed(key, install.installed)
        if self.waits(key, install.installed):
            return False
        self.failed(key, install.installed)
        return True


def mendable(install: Install) -> bool:
    """Tell whether an offer was refused for something that may be otherwise tomorrow; who came by hand brings it again."""
    offer = install.offer
    refused = install.phase is Phase.REFUSED and install.reason in MENDABLE
    return refused and offer is not None and offer.rollout != OFFLINE
