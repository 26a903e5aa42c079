"""Settings that change while the agent runs: read whole again, compared, and applied where that can be done live.

Rules: a file that cannot be read changes nothing and is said; what the hub tunes lies over the file's settings and goes
the same way; what needs a restart is named, and waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Final

from sprat_device.agent.stream import label
from sprat_device.board import logs
from sprat_device.board.settings import DeviceSettings
from sprat_device.board.settings.device import KEYS, TABLES
from sprat_device.contract.errors import SpratError
from sprat_device.contract.twin import Desired, InputMode
from sprat_device.inference.telling import Recorder

_LOG: Final = logging.getLogger("sprat.agent")

Apply = Callable[[DeviceSettings], None]
"""Makes one part of the settings count."""


def tuned(local: DeviceSettings, desired: Desired) -> DeviceSettings:
    """Return the file's settings with what the hub tunes, as far as the file lets it."""
    level = desired.log_level if desired.log_level in logs.LEVELS else local.log_level
    inputs = local.inputs
    if local.remote.inputs:
        inputs = tuple(entry for entry in inputs if desired.inputs.get(label(entry)) is not InputMode.OFF)
    return replace(local, log_level=level, inputs=inputs)


class Reloader:
    """Holds the settings that count, and follows the file and the hub."""

    def __init__(
        self,
        settings: DeviceSettings,
        read: Callable[[], DeviceSettings],
        live: Mapping[str, Apply],
        recorder: Recorder,
    ) -> None:
        """Wire; `live` maps a section, or a key outside of sections, to what applies it."""
        self._local = settings
        self._read = read
        self._live = live
        self._recorder = recorder
        self._failed: tuple[str, ...] = ()
        """The parts that did not work when they were applied last: a file that they name may have come since."""
        self.current = settings

    @property
    def local(self) -> DeviceSettings:
        """Return what the device's own file says, without the hub's word over it."""
        return self._local

    def reload(self, desired: Desired) -> str:
        """Read the file again and follow it; returns one line of what came of it."""
        try:
            fresh = self._read()
        except SpratError as exc:
            _LOG.error("settings stay as they were: %s", exc)
            self._recorder.event("settings-refused", {"detail": str(exc)[:500]})
            return f"settings refused: {exc}"
        self._local = fresh
        return self._follow(tuned(fresh, desired), said_by="file")

    def follow(self, desired: Desired) -> None:
        """Take what the hub tunes."""
        self._follow(tuned(self._local, desired), said_by="hub")

    def _follow(self, fresh: DeviceSettings, *, said_by: str) -> str:
        changed = differing(self.current, fresh)
        again = self._again(fresh) if said_by == "file" else ()
        if not (changed or again):
            return "no setting changed"
        self.current = fresh
        waiting = [key for key in changed if not self._is_live(key)]
        applied = [key for key in changed if key not in waiting]
        if applied:
            _LOG.info("settings changed by the %s: %s", said_by, ", ".join(applied))
            self._recorder.event("settings-applied", {"by": said_by, "settings": applied})
        names = dict.fromkeys([*(key.partition(".")[0] for key in applied), *again])
        failed = [name for name in names if not self._apply(name, fresh)]
        self._failed = tuple(dict.fromkeys([*(name for name in self._failed if name not in names), *failed]))
        if waiting:
            _LOG.warning("these settings count after a restart: %s", ", ".join(waiting))
            self._recorder.event("restart-needed", {"by": said_by, "settings": waiting})
        return (
            f"{len(applied)} settings applied, {len(waiting)} count after a restart"
            if changed
            else "no setting changed"
        )

    def _again(self, fresh: DeviceSettings) -> tuple[str, ...]:
        """Return the parts to apply although their settings are as before: what they name may be another."""
        return (*self._failed, *(("serve",) if fresh.serve.token_file and "serve" not in self._failed else ()))

    def _apply(self, name: str, fresh: DeviceSettings) -> bool:
        try:
            self._live[name](fresh)
        except SpratError as exc:
            # What the settings name (a file, an address) is not as they say: the rest of them counts all the same.
            _LOG.error("settings of %s do not work: %s", name, exc)
            self._recorder.event("settings-failed", {"section": name, "detail": str(exc)[:500]})
            return False
        return True

    def _is_live(self, key: str) -> bool:
        return key not in _AFTER_RESTART and key.partition(".")[0] in self._live


_AFTER_RESTART: Final = frozenset({"telemetry.cap_bytes", "health.thread_limit_s"})
"""Of sections that are applied live otherwise."""


def differing(before: DeviceSettings, after: DeviceSettings) -> list[str]:
    """Return the keys whose values differ; a list of tables counts as one key."""
    return [key for key in (*KEYS, *TABLES) if attrgetter(key)(before) != attrgetter(key)(after)]
