"""Numbers that may only rise, in two records with a checksum that are written in turn.

A power cut or a worn block costs at most the newest record, never both. Records that exist but are all damaged are an
error: going on without floors would let an old repository in.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.phases import Reason

_SIDES: Final = ("a", "b")


class PairedRecord:
    """One JSON document, kept twice: `<stem>.a` and `<stem>.b`."""

    def __init__(self, files: Files, stem: Path) -> None:
        self._files = files
        self._stem = stem

    def load(self) -> dict[str, Any]:
        """Return the newest whole record, `{}` where none was ever written, or raise BundleRefused."""
        return self._newest()[2]

    def store(self, document: Mapping[str, Any]) -> None:
        """Write durably over the older record."""
        turn, side, _ = self._newest()
        body = json.dumps({"turn": turn + 1, "document": document}, sort_keys=True).encode()
        other = _SIDES[1 - _SIDES.index(side)]
        self._files.write_atomic(self._path(other), f"{zlib.crc32(body):08x}\n".encode() + body)

    def _newest(self) -> tuple[int, str, dict[str, Any]]:
        found = [(path, side) for side in _SIDES if self._files.exists(path := self._path(side))]
        whole = [(*record, side) for path, side in found if (record := self._whole(path))]
        if found and not whole:
            raise BundleRefused(
                Reason.METADATA_ROLLBACK,
                f"all records of {self._stem.name} are damaged; enrol this device again to begin new ones",
            )
        turn, document, side = max(whole, key=lambda one: one[0], default=(0, {}, "b"))
        return turn, side, document

    def _whole(self, path: Path) -> tuple[int, dict[str, Any]] | None:
        try:
            return _parse(self._files.read(path))
        except OSError:
            return None  # a worn block: the other record counts

    def _path(self, side: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{side}")


class ReleaseFloors:
    """The lowest release number that each model still accepts; raised when a trial is confirmed."""

    def __init__(self, files: Files, state: Path) -> None:
        self._record = PairedRecord(files, state / "release-floors")

    def of(self, model: str) -> int:
        """Return the floor of a model, 0 where none was confirmed yet."""
        return int(self._record.load().get(model, 0))

    def raise_to(self, model: str, release_seq: int) -> None:
        """Raise a floor; a lower number changes nothing."""
        floors = self._record.load()
        if release_seq > int(floors.get(model, 0)):
            self._record.store({**floors, model: release_seq})


def _parse(raw: bytes) -> tuple[int, dict[str, Any]] | None:
    checksum, _, body = raw.partition(b"\n")
    if checksum != f"{zlib.crc32(body):08x}".encode():
        return None
    record = json.loads(body)
    return int(record["turn"]), dict(record["document"])
