"""The commands that this agent answers: how each of `commands.py`'s names is done here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sprat_device import VERSION
from sprat_device.agent.reporter import Reporter
from sprat_device.board.logs import LogHandler
from sprat_device.commands import Handler, whole
from sprat_device.telemetry.recorder import Recorder

_TAIL_LINES: Final = 50
_MOST_LINES: Final = 200
_MOST_TAIL_BYTES: Final = 32 * 1024
_FLUSH_S: Final = 2.0


def handlers(
    *,
    reporter: Reporter,
    recorder: Recorder,
    log: LogHandler | None,
    reload: Callable[[], str],
    restart: Callable[[], None],
    capture: Callable[[str], Mapping[str, object]],
) -> dict[str, Handler]:
    """Wire the table; without a log that command is unknown here."""

    def tell_log(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        lines = whole(arguments, "lines", default=_TAIL_LINES, most=_MOST_LINES)
        return {"lines": _within(log.tail(lines) if log is not None else [])}

    def begin_restart(_arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        restart()
        return {"restarts": True}

    table: dict[str, Handler] = {
        "ping": lambda _arguments: {"agent": VERSION},
        "status": lambda _arguments: {"report": json.loads(reporter.now().dump())},
        "reload": lambda _arguments: {"settings": reload()},
        "flush": lambda _arguments: {"flushed": recorder.flush(_FLUSH_S)},
        "restart": begin_restart,
        "capture-now": lambda arguments: dict(capture(str(arguments.get("model", "")))),
    }
    if log is not None:
        table["logs"] = tell_log
    return table


def _within(lines: list[str]) -> list[str]:
    """Return the newest lines that fit into one message."""
    room, kept = _MOST_TAIL_BYTES, list[str]()
    for line in reversed(lines):
        room -= len(line.encode()) + 4
        if room < 0:
            break
        kept.append(line)
    return kept[::-1]
