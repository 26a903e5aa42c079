"""The standard streams of a program that runs for years: each keeps its descriptor, and standard error never waits.

A journal that hangs, a frozen terminal or a pipe whose reader has stopped must not hold an inference, nor hide that a
thread has ended. The descriptor itself is made so, hence also for what libraries and children say on it.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Final, TextIO, cast

_STDERR: Final = 2


class LossyStream(io.TextIOBase):
    """Writes texts to a stream, each whole where there is room for it."""

    def __init__(self, stream: TextIO) -> None:
        """Take a stream whose descriptor does not wait (`never_wait`), or one in memory."""
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._in_line = self._lost = False

    def say(self, text: str) -> bool:
        """Write a text; False if it was left out, or only its beginning had room. OSError where nothing can be written."""
        if self._descriptor is None:
            self._stream.write(text)
            return True
        # A line that was begun is ended before the next text, unless that goes on with it.
        begun = "\n" if self._in_line and self._lost else ""
        data = (begun + text).encode(self._stream.encoding or "utf-8", "backslashreplace")
        written = 0
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            return False
        finally:
            self._lost = written < len(data)
            self._in_line = not data[:written].endswith(b"\n") if written else self._in_line
        return not self._lost

    def write(self, text: str, /) -> int:
        """Write a text as far as there is room, for whoever takes this for a stream."""
        self.say(text)
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Tell that it is for writing."""
        return True


def keep_places() -> None:
    """Let nothing that is opened later take the place of a standard stream that was closed when this program began.

    A library's words would else end up in a segment of the spool.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= _STDERR:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def never_wait() -> None:
    """Let nothing wait that this process, its libraries and its children say on standard error.

    To be called while this is still the user who opened it: another cannot open a terminal or a pipe anew.
    """
    descriptor = _descriptor(sys.stderr)
    if descriptor is not None:
        _unblock(descriptor)
    sys.stderr = cast(TextIO, LossyStream(sys.stderr))


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None  # in memory


def _unblock(descriptor: int) -> None:
    """Make a descriptor one that does not wait, and leave those alone who share what it leads to, such as a shell."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return  # no file makes anybody wait for a reader
    if stat.S_ISSOCK(mode):
        os.set_blocking(descriptor, False)  # the journal's, which is this service's alone; it cannot be opened again
        return
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # another user's
        if stat.S_ISFIFO(mode):
            os.set_blocking(descriptor, False)
        return
    os.dup2(own, descriptor)
    os.close(own)
