"""A serial line by the standard library: raw mode, one speed, opened for this agent alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
import tty
from pathlib import Path

from sprat_device.board.clock import Clock
from sprat_device.inference.sources.descriptor import Descriptor
from sprat_device.inference.sources.splitting import Splitter


def open_line(path: Path, baud: int, clock: Clock, splitter: Splitter, *, newest: bool = False) -> Descriptor:
    """Open a line, or OSError: it is not plugged in, or somebody else has it."""
    rate = getattr(termios, f"B{baud}", None)
    if rate is None:
        raise OSError(errno.EINVAL, f"baud {baud} is not one that this system has", str(path))
    line = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        tty.setraw(line, termios.TCSANOW)
        modes = termios.tcgetattr(line)
        modes[2] |= termios.CLOCAL | termios.CREAD
        modes[4] = modes[5] = rate
        termios.tcsetattr(line, termios.TCSANOW, modes)
        fcntl.ioctl(line, termios.TIOCEXCL)
        # What came before we listened may begin in the middle of a record.
        termios.tcflush(line, termios.TCIFLUSH)
    except termios.error as exc:
        os.close(line)
        raise OSError(errno.ENOTTY, "is no serial line", str(path)) from exc
    except OSError:  # unplugged at this very moment
        os.close(line)
        raise

    def close() -> None:
        with contextlib.suppress(OSError):
            os.close(line)

    return Descriptor(line, clock, splitter, close=close, ended=lambda: f"{path}: unplugged", newest=newest)
