"""The agent's report of this moment, in memory: `/run/sprat` under systemd, the session's runtime folder elsewhere.

It spares the card: `status.json` in the state folder is written when something changed, else every five minutes. Where
there is no such folder, nothing is lost but its freshness.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

STATUS_FILE: Final = "status.json"
"""The report that lies in the state folder."""
_OF_THE_UNIT: Final = Path("/run/sprat")
"""The unit's RuntimeDirectory, which only the agent is told of by name."""


class VolatileReport:
    """One file of one state folder; told by the agent, looked at by `sprat-device status`."""

    def __init__(self, state: Path, environment: Mapping[str, str] = os.environ) -> None:
        # Several agents of one user differ by their state folders.
        self._name = f"status-{hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]}.json"
        self._environment = environment

    def write(self, report: bytes) -> bool:
        """Put the report where readers look; False where no such folder is."""
        given = next(self._given(), None)
        if given is None:
            return False
        path = given / self._name
        fresh = path.with_suffix(".new")
        try:
            # As status.json: it is for the owner of the state folder and root, whatever this process' mask says.
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(report)
            fresh.replace(path)
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Take the report away: the agent ends, and the disk has its last one."""
        for folder in self._given():
            with suppress(OSError):
                (folder / self._name).unlink(missing_ok=True)

    def found(self) -> Path | None:
        """Return the file of what the agent told last, None where there is none."""
        for folder in (*self._given(), _OF_THE_UNIT):
            if os.access(path := folder / self._name, os.R_OK):
                return path
        return None

    def _given(self) -> Iterator[Path]:
        for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
            if folder := self._environment.get(name, "").partition(":")[0]:
                yield Path(folder)
