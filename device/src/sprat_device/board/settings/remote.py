"""What the hub may do here beyond offers and telemetry: `[remote]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting

COMMANDS: Final = ("ping", "status", "logs", "reload", "flush", "restart", "capture-now")
HARMLESS: Final = COMMANDS[:5]


def _commands(raw: object) -> tuple[str, ...]:
    """Accept a list of commands, which may be empty."""
    return () if raw in ("", [], ()) else values.choices(*COMMANDS)(raw)


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """`[remote]`: the board's owner decides, the hub asks."""

    commands: tuple[str, ...] = setting(
        HARMLESS, _commands, "what the hub may ask; restart and capture-now only if named"
    )
    inputs: bool = setting(False, values.boolean, "the hub may switch inputs off and on")
