"""The segments that a lane has given up and whose files are still on the disk.

A file goes only after a checkpoint says that its frames do, else a power cut between the two would count them as
damaged. On a disk that is too full for a checkpoint that order is turned round: room first, for the checkpoint too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.phases import Lane
from sprat_device.telemetry.segment import Segment

_log: Final = logging.getLogger(__name__)


class GivenUp:
    """Removes their files; `save` writes the lane's checkpoint and calls `saved`."""

    def __init__(self, files: Files, folder: Path, lane: Lane, *, save: Callable[[], None]) -> None:
        self.unsaved = False
        """No checkpoint says so yet: a frame whose counters do must not reach the disk before one."""
        self.size_bytes = 0
        """What their files take on the disk; counted, for every append asks."""
        self._files = files
        self._folder = folder
        self._lane = lane
        self._save = save
        self._save_fails = False
        self._segments: list[Segment] = []

    def add(self, segments: Sequence[Segment]) -> None:
        """Take segments over."""
        self._segments += segments
        self.size_bytes += sum(segment.size for segment in segments)
        self.unsaved = True

    def saved(self) -> None:
        """Take note of a checkpoint that reached the disk."""
        self.unsaved = self._save_fails = False

    def sweep(self, kept: Iterable[Segment]) -> None:
        """Remove the files, `kept` being what the lane has left; after an OSError the next sweep goes on."""
        if not self._segments:
            return
        try:
            self._save()
        except OSError as exc:
            # A full disk: make room first. A power cut right here would count these frames as damaged, not as gone.
            if not self._save_fails:  # once until it works again: a sick disk must not fill the log as well
                _log.warning(
                    "spool: checkpoint of %s could not be written (%s), removing segments first", self._lane, exc
                )
            self._save_fails = True
            self._unlink(keep_last=not any(segment.end for segment in kept))
            self._save()
        else:
            self._unlink()

    def _unlink(self, *, keep_last: bool = False) -> None:
        """Remove files; with `keep_last` not the one from which alone a start could tell which seqs were used."""
        while len(self._segments) > keep_last:
            gone = self._segments[0]
            if self._files.exists(gone.path):
                self._files.unlink(gone.path)
            self.size_bytes -= gone.size
            del self._segments[0]
        self._files.sync_folder(self._folder)
