"""The reported half of the twin: tells the hub, and `sprat-device status`, what this device is and holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sprat_device import VERSION
from sprat_device.agent.streams import Streams
from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.identity import Identity
from sprat_device.board.volatile import STATUS_FILE, VolatileReport
from sprat_device.contract.twin import Desired, ModelReport, Reported, ShadowReport
from sprat_device.install.installer import Installer
from sprat_device.telemetry.recorder import Recorder

_LOG: Final = logging.getLogger("sprat.agent")
_REPORT_US: Final = 2_000_000
"""Counters alone are told at most this often while something else has changed of late; that itself is told at once."""
_SETTLED_US: Final = 60_000_000
"""So often are they told later on: the twin is no part of the daily byte budget, and would be most of what is sent."""
_LATELY_US: Final = 120_000_000
_WRITE_US: Final = 300_000_000
"""They are written for `sprat-device status` seldom, to spare the card."""
_VERSIONS: Final = 1_000_000
"""Reserved at each start, so that versions rise without a write each."""


class Reporter:
    """Publishes the reported twin: at once where something changed, now and then where only counters did."""

    def __init__(
        self,
        state: Path,
        files: Files,
        clock: Clock,
        *,
        identity: Identity,
        installer: Installer,
        streams: Streams,
        recorder: Recorder,
        facts: Callable[[], dict[str, Any]],
        publish: Callable[[bytes], None],
        shadow: Callable[[str], ShadowReport | None] = lambda _model: None,
        refused: Callable[[Desired], Mapping[str, str]] = lambda _desired: {},
    ) -> None:
        """Wire; `facts` are read for each report, not for each look at whether there is something to report."""
        self._state = state
        self._files = files
        self._clock = clock
        self._identity = identity
        self._installer = installer
        self._streams = streams
        self._recorder = recorder
        self._read_facts = facts
        self._facts = facts()
        self._publish = publish
        self._shadow = shadow
        self._refused = refused
        self._volatile = VolatileReport(state)
        self._last = Reported(version=self._reserve_versions())
        self._desired = Desired(incarnation="", version=0)
        self._changed_us = 0
        self._told_us = self._shown_us = 0
        self._next_write_us = 0

    def report(self, desired: Desired, *, force: bool = False) -> None:
        """Publish what is to be told now, if anything."""
        self._desired = desired
        current = self._describe(desired)
        now_us = self._clock.monotonic_us()
        changed = _without_counters(current) != _without_counters(self._last)
        if changed or _kinds(current) != _kinds(self._last):
            self._changed_us = now_us
        tells = changed or force or (current != self._last and self._is_due(now_us))
        if tells or now_us >= self._shown_us + _REPORT_US:
            self._shown_us = now_us
            self._volatile.write(current.dump())  # into memory: it may be as often as this
        if not tells:
            return
        self._told_us = now_us
        self._facts = self._read_facts()
        self._last = replace(current, version=self._last.version + 1, facts=self._all_facts())
        told = self._last.dump()
        self._publish(told)
        if changed or force or now_us >= self._next_write_us:
            self._next_write_us = now_us + _WRITE_US
            self._write(told)

    def leave(self) -> None:
        """Write the report of a stopped agent: what it told last, with the counters after everything was flushed."""
        models = {}
        for name, model in self._last.models.items():
            _, healthy, errors = self._streams.counts(name)
            models[name] = replace(model, healthy=healthy, errors=errors)
        version = self._last.version + 1
        self._last = replace(self._last, version=version, models=models, ledger=self._recorder.ledger())
        self._write(self._last.dump())

    def close(self) -> None:
        """Take the report in memory away: what is on the disk is the last word."""
        self._volatile.remove()

    def now(self) -> Reported:
        """Return what is so at this moment, told or not."""
        return self._describe(self._desired)

    def _is_due(self, now_us: int) -> bool:
        wait_us = _REPORT_US if now_us < self._changed_us + _LATELY_US else _SETTLED_US
        return now_us >= self._told_us + wait_us

    @property
    def last(self) -> Reported:
        """Return what was told last."""
        return self._last

    def _write(self, told: bytes) -> None:
        try:
            self._files.write_atomic(self._state / STATUS_FILE, told)
        except OSError as exc:
            _LOG.warning("status.json is not of this moment, for the disk does not take it (%s)", exc)

    def _reserve_versions(self) -> int:
        path = self._state / "reported.version"
        try:
            first = int(self._files.read(path)) if self._files.exists(path) else 0
        except (OSError, ValueError):
            # Worn flash, for it is written whole or not at all. The hub goes by the order of arrival, so 0 will do.
            _LOG.warning("%s cannot be read, the reports are numbered anew", path)
            first = 0
        try:
            self._files.write_atomic(path, str(first + _VERSIONS).encode())
        except OSError as exc:
            _LOG.warning("%s cannot be written (%s): the next start numbers its reports like this one", path, exc)
        return first

    def _describe(self, desired: Desired) -> Reported:
        return Reported(
            version=self._last.version,
            applied_incarnation=desired.incarnation,
            applied_version=desired.version,
            agent=VERSION,
            boot_id=self._clock.boot_id.hex(),
            clock=self._clock.state(),
            channel=self._identity.channel,
            facts=self._all_facts(),
            models=self._models(),
            ledger=self._recorder.ledger(),
            errors=self._recorder.last_errors.told(),
            refused=self._refused(desired),
        )

    def _all_facts(self) -> dict[str, Any]:
        return {**self._facts, "running": self._streams.runtimes, "unfit": self._streams.unfit}

    def _models(self) -> dict[str, ModelReport]:
        models: dict[str, ModelReport] = {}
        for model, (active, spare, install) in self._installer.reports().items():
            running, healthy, errors = self._streams.counts(model)
            models[model] = ModelReport(
                active=active, spare=spare, install=install, running=running, healthy=healthy, errors=errors,
                shadow=self._shadow(model),
            )  # fmt: skip
        return models


def _kinds(reported: Reported) -> frozenset[tuple[str, str]]:
    """Return which kinds of errors are told, without how often."""
    return frozenset((error.code, error.at) for error in reported.errors)


def _without_counters(reported: Reported) -> Reported:
    """Return what a person would call a change that is worth a write: not the counters, and not what went wrong."""
    models = {
        name: replace(model, healthy=0, errors=0, shadow=model.shadow and replace(model.shadow, compared=0, agreed=0))
        for name, model in reported.models.items()
    }
    return replace(reported, version=0, models=models, ledger={}, errors=())
