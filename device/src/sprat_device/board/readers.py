"""Ends a command well whose reader has gone (`… | head -1`): quietly, as programs of the shell do.

Python ignores SIGPIPE and would tell a traceback, or end with 120 while it closes its streams. The signal itself stays
ignored: a peer that closes a socket must not end the agent, nor the hub, whose commands end by the same rules.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Final

GONE: Final = 141
"""Exit code: 128 + SIGPIPE, as a shell tells it of a program that this signal ended."""


def served(command: Callable[[], int], explain: Callable[[OSError], int]) -> int:
    """Run a command and deliver what it printed; return its exit code, GONE where nobody reads on.

    Any other OSError, one of the delivery too (a full disk behind `> file`), is `explain`'s to tell.
    """
    try:
        try:
            return command()
        finally:
            _deliver()
    except OSError as exc:
        undelivered = [fd for fd in (1, 2) if _unread(fd)]
        if not (undelivered and isinstance(exc, BrokenPipeError)):
            return explain(exc)
        _silence(undelivered)
        return GONE


def _deliver() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed by who started the program
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            _silence([stream.fileno()])  # else the interpreter fails at it once more while it ends
            raise


def _unread(fd: int) -> bool:
    """Tell whether nobody can read what is written to a descriptor."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _silence(descriptors: list[int]) -> None:
    """Let what is still buffered go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for fd in descriptors:
        os.dup2(nowhere, fd)
    os.close(nowhere)
