"""What a feed gives before anything is made of it, and the port of a feed.

A feed carries: a pipe, a file, a topic, a folder. What it carried is decoded, windowed and numbered behind it, so a new
bundle that takes other inputs needs no new connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from sprat_device.board.clock import Clock
from sprat_device.contract.phases import Reason

Tell = Callable[[str, Mapping[str, object]], None]
"""Takes an event: its code and its detail."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that came, with the time of its coming."""

    mono_us: int
    wall_us: int
    payload: bytes = b""
    form: str = ""
    """A file's suffix, where each item is a file."""
    values: Any = None
    """Values in place of a payload: a mapping by input, or those of an only input."""
    begins: bool = False
    """What came before it is lost or long ago: a new sequence begins."""
    dropped: int = 0
    """How many items were dropped before this one because they came faster than they were taken."""
    fault: str = ""
    """Why there is no payload: a file that cannot be read, a line without an end."""

    def beginning(self) -> Item:
        """Return it as the first of a new sequence."""
        return self if self.begins else replace(self, begins=True)


class Unreadable(Exception):
    """What came is no input of this model; its reason becomes an event."""

    def __init__(self, detail: str, reason: Reason = Reason.INPUT_UNREADABLE) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason


class Feed(Protocol):
    """What carries items. OSError says that it is broken or has ended: it is closed, and opened anew later."""

    def take(self, timeout_s: float) -> Item | None:
        """Wait up to `timeout_s` for the next item."""
        ...

    def close(self) -> None:
        """Let go of what is open; it returns within two seconds."""
        ...


def open_at_once(path: Path) -> FileIO:
    """Open a file for reading, unbuffered; a pipe without a writer is not waited for."""
    return FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def arrived(clock: Clock, payload: bytes, *, form: str = "", fault: str = "", dropped: int = 0) -> Item:
    """Return an item that comes now."""
    return Item(clock.monotonic_us(), clock.wall_us(), payload, form, fault=fault, dropped=dropped)
