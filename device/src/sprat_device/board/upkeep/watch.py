"""Is the agent that was just started well? It has told its version, and it has stayed since.

Read from the state folder: every start writes `status.json`, with a version above the number that stood in
`reported.version`, and raises that number. So what an older start tells at its end is not taken for the new one's word.
The folder's lock is not touched: to try it is to hold it for a moment, in
which the agent could not start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_S: Final = 90.0
SETTLE_S: Final = 10.0
_STEP_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a start may take, and how long the agent must then stay."""

    start_s: float = START_S
    settle_s: float = SETTLE_S


@dataclass(frozen=True, slots=True)
class Seen:
    """What the state folder tells: the last report's number and agent, and above which number the next start reports."""

    version: int = 0
    agent: str = ""
    next_start: int = 0


def look(state: Path) -> Seen:
    """Read the state folder; what is missing or damaged counts as nothing told."""
    try:
        told = json.loads((state / "status.json").read_bytes())
        version, agent = int(told["version"]), str(told["agent"])
    except (OSError, ValueError, KeyError, TypeError):
        version, agent = 0, ""
    try:
        next_start = int((state / "reported.version").read_bytes())
    except (OSError, ValueError):
        next_start = 0
    return Seen(version, agent, next_start)


def await_well(
    state: Path,
    before: Seen,
    agent: str,
    patience: Patience,
    *,
    active: Callable[[], bool],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return an empty string once the agent is well, else why it is not; `active` asks the service manager."""
    end = now() + patience.start_s
    while not (_told(seen := look(state), before, agent) and active()):
        if now() > end:
            if _told(seen, before, agent):
                return f"it told its version within {patience.start_s:g} s, but systemd does not call it active"
            what = f"version {seen.agent}" if seen.version > before.next_start else "nothing"
            return f"it told {what} within {patience.start_s:g} s, expected version {agent}"
        sleep(_STEP_S)
    first, end = seen, now() + patience.settle_s
    while now() < end:
        sleep(_STEP_S)
        seen = look(state)
        if seen.next_start != first.next_start or not active():
            return f"it ended within {patience.settle_s:g} s after its first report"
    return ""


def _told(seen: Seen, before: Seen, agent: str) -> bool:
    return seen.version > before.next_start and seen.agent == agent
