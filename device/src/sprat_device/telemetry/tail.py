"""The end of a lane: the one segment file that is being written.

What `store` returned from is on the disk: fdatasync of its bytes and, in a new file, fsync of the folder that names it.
What a failed write left behind is cut off before anything else is written.
"""

from __future__ import annotations

from pathlib import Path

from sprat_device.board.files import Appender, Files
from sprat_device.telemetry.segment import Segment


class Tail:
    """Writes to one segment at a time; `finish` before the next one."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._writing: Appender | None = None
        self._name_synced = True
        self._torn: Segment | None = None

    def store(self, segment: Segment, raw: bytes) -> None:
        """Put a frame behind the last whole one of a segment, durably; OSError means that nothing was stored."""
        try:
            if self._writing is None:
                self._name_synced = self._name_synced and self._files.exists(segment.path)
                self._writing = self._files.append(segment.path)
            self._writing.write(raw)
            self._writing.sync()
            if not self._name_synced:
                self._files.sync_folder(self._folder)
                self._name_synced = True
        except OSError:
            self._torn = segment
            self.mend()
            raise

    def mend(self) -> None:
        """Cut what a failed write left behind the last whole frame, else it could look like a frame after a reboot."""
        if self._torn is None:
            return
        if self._files.exists(self._torn.path):  # its segment may have been given up since
            self._files.truncate(self._torn.path, self._torn.size)
        self._torn = None

    def finish(self) -> None:
        """Let go of the file; the next frame opens its own."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None
