"""One agent per state folder, one command per board: locks that the kernel takes back when their holder ends, however it does."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sprat_device.contract.errors import MachineLacks

_UNWRITABLE: Final = frozenset({errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT})


@contextmanager
def hold(state: Path) -> Iterator[None]:
    """Hold the folder's lock, or raise MachineLacks: two agents on one spool would break its ledger."""
    descriptor = _open(state)
    if descriptor is None:
        yield  # it cannot be written by another agent either
        return
    with _locked(descriptor, f"{state}: another sprat-device runs here; end it first"):
        yield


@contextmanager
def hold_board(run: Path) -> Iterator[None]:
    """Hold the lock of the commands that change a board, a file that root alone can open, or raise MachineLacks.

    The file stays until the next boot: removed, it would let two commands hold a lock of one name each. Children that
    are not spared it (`close_fds=False`) hold it as well, for one may outlive a command that is killed.
    """
    descriptor = os.open(run / "sprat-board.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.set_inheritable(descriptor, True)
    with _locked(descriptor, "another sprat-device board command changes this board; wait until it has ended"):
        yield


@contextmanager
def _locked(descriptor: int, busy: str) -> Iterator[None]:
    """Lock an open file and close it at the end; MachineLacks if another process has the lock."""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise MachineLacks(busy) from exc
        yield
    finally:
        os.close(descriptor)


def is_held(state: Path) -> bool:
    """Tell whether an agent runs here."""
    descriptor = _open(state)
    if descriptor is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(state: Path) -> int | None:
    """Open the lock's file, as it is where it can only be read; None where it neither is nor can be made."""
    path = state / "lock"
    try:
        state.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in _UNWRITABLE:
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else None
