"""How far a source has read, in a small file of the state folder: so that a restart reads nothing twice.

It is written at most every few seconds and when the source closes, without a sync: after a power cut some seconds are
read again, which costs less than a flash block for every reading.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_EACH_S: Final = 5.0


class Place:
    """One source's place: plain values under the name of what is read."""

    def __init__(self, file: Path | None, of: str, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Read what was kept for `of`; without a file nothing is kept."""
        self._file = file
        self._of = of
        self._now_s = now_s
        self._due_s = now_s()
        self._unsaved: dict[str, Any] | None = None

    def last(self) -> dict[str, Any]:
        """Return what was kept, nothing where there is no file, another source's, or a torn one."""
        if self._file is None:
            return {}
        try:
            kept = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return dict(kept) if isinstance(kept, dict) and kept.get("of") == self._of else {}

    def keep(self, values: dict[str, Any]) -> None:
        """Take the place of now; it is written when that is due."""
        self._unsaved = values
        if self._now_s() >= self._due_s:
            self.save()

    def save(self) -> None:
        """Write what is not written; a full disk or a read-only one does not stop a source."""
        if self._file is None or self._unsaved is None:
            return
        self._due_s = self._now_s() + _EACH_S
        partial = self._file.with_name(f"{self._file.name}.part")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"of": self._of, **self._unsaved}), encoding="utf-8")
            partial.replace(self._file)
            self._unsaved = None
