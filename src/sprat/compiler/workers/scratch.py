"""A folder for the temporary files of one worker, which goes with it: TensorFlow leaves some behind where it is killed.

Who made it holds a lock on it. The kernel lets go of that whatever ends the maker, `kill -9` too; the next folder that is
made removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PREFIX: Final = "sprat-worker-"


class Scratch:
    """A new folder below the machine's own for temporary files, until `remove`."""

    def __init__(self) -> None:
        """Make it, and remove what killed builds have left; OSError where no folder can be made."""
        sweep(Path(tempfile.gettempdir()))
        self.path, self._held = _made()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Remove it."""
        self.remove()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)  # what stays is swept by the next one
        os.close(self._held)


def sweep(folder: Path) -> None:
    """Remove the folders of this user that nobody holds."""
    for path in folder.glob(f"{_PREFIX}*"):
        # Another user's, or gone or begun to be held at this very moment.
        with contextlib.suppress(OSError):
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(held).st_uid == os.getuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(held)


def _made() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # swept by another build before it was held
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held).st_nlink:
            return path, held
        os.close(held)
