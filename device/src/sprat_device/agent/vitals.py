"""The health record: how the machine does, how the agent's runs went, and now and then which versions they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sprat_device import VERSION
from sprat_device.board.clock import Clock
from sprat_device.board.health import Health, versions
from sprat_device.board.runs import Runs

_VERSIONS_EVERY_US: Final = 3_600_000_000
"""They change with a restart at most: once an hour is enough for a reader who has but the last day."""


class Vitals:
    """Makes health records of one run."""

    def __init__(self, state: Path, clock: Clock, runs: Runs, runtimes: Callable[[], Mapping[str, str]]) -> None:
        self._health = Health(state)
        self._clock = clock
        self._runs = runs
        self._runtimes = runtimes
        self._begun_us = clock.monotonic_us()
        self._next_us = self._next_versions_us = 0

    def standing(self) -> dict[str, float | str]:
        """Return what the reported twin tells of the machine: room on the disk, temperature, power."""
        return self._health.standing()

    def due(self, interval_s: float) -> bool:
        """Tell, once in each interval, that a record shall be made; the first at once."""
        now_us = self._clock.monotonic_us()
        if now_us < self._next_us:
            return False
        self._next_us = now_us + int(interval_s * 1e6)
        return True

    def record(self) -> dict[str, float | str]:
        """Return the detail of one health record."""
        now_us = self._clock.monotonic_us()
        told = self._health.sample() | {
            "agent_uptime_s": round((now_us - self._begun_us) / 1e6),
            "starts": self._runs.this.starts,
            "crashes": self._runs.this.crashes,
            "last_end": str(self._runs.last_end),
            "clock": str(self._clock.state()),
        }
        if now_us >= self._next_versions_us:
            self._next_versions_us = now_us + _VERSIONS_EVERY_US
            told |= versions(agent=VERSION)
            told["runtimes"] = ",".join(sorted(set(self._runtimes().values())))[:64]
        return told
