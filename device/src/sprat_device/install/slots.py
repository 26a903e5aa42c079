"""Which bundle a model runs, and which it falls back to: `slots/<model>.json`, twice, beside `bundles/<sha256>.sprat`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sprat_device.board import twice
from sprat_device.board.files import Files
from sprat_device.contract.fields import Fields
from sprat_device.contract.twin import Installed, parse_installed

SCHEMA: Final = "sprat.slots/1"
_LOG: Final = logging.getLogger("sprat.install")


@dataclass(frozen=True, slots=True)
class Pair:
    """The slots of one model."""

    active: Installed | None = None
    spare: Installed | None = None

    def flipped(self, new: Installed) -> Pair:
        """Make `new` active and keep what ran before; repeating it changes nothing."""
        return self if self.active == new else Pair(new, self.active)

    def swapped_back(self, failed: Installed) -> Pair:
        """Go back to the spare if `failed` is active; repeating it changes nothing."""
        return Pair(self.spare, None) if self.active == failed else self


class Slots:
    """The slot records and the bundles that they name."""

    def __init__(self, files: Files, state: Path) -> None:
        self._files = files
        self._folder = state / "slots"
        self.bundles = state / "bundles"
        self.lost: set[str] = set()
        """Models whose slots could not be read: nobody knows which bundles are theirs."""
        self.restored: set[str] = set()
        """Models whose slots were read from the copy, and not written anew since."""

    def prepare(self) -> None:
        """Make the folders."""
        self._files.make_folder(self._folder)
        self._files.make_folder(self.bundles)

    def load(self, model: str) -> Pair:
        """Read a model's slots; empty where it never had any, or they are damaged: the other models go on."""
        path = self._folder / f"{model}.json"
        found = twice.read(self._files, path, _parse)
        if found.fault:  # written whole or not at all, so this is worn flash
            copy = (
                "its copy counts" if found.value else "taken for empty; no bundle is removed until it is written anew"
            )
            _LOG.error("%s cannot be read (%s), %s", path, found.fault, copy)
            (self.restored if found.value else self.lost).add(model)
        return found.value or Pair()

    def store(self, model: str, pair: Pair) -> None:
        """Write a model's slots durably."""
        self._files.make_folder(self._folder)  # somebody may have removed it while the agent runs
        document = {"schema": SCHEMA, **asdict(pair)}
        twice.write(self._files, self._folder / f"{model}.json", json.dumps(document, sort_keys=True).encode())
        self.lost.discard(model)
        self.restored.discard(model)

    def path(self, bundle: str) -> Path:
        """Return where a bundle stands."""
        return self.bundles / f"{bundle}.sprat"

    def part(self, bundle: str) -> Path:
        """Return where a bundle is fetched into."""
        return self.bundles / f"{bundle}.part"

    def keep_only(self, bundles: Iterable[str]) -> None:
        """Remove every bundle and part that is not among `bundles`, unless it may be of a model whose slots are lost."""
        if self.lost:
            return
        kept = {name for bundle in bundles for name in (f"{bundle}.sprat", f"{bundle}.part")}
        there = self._files.list(self.bundles) if self._files.exists(self.bundles) else []
        gone = [path for path in there if path.name not in kept]
        for path in gone:
            self._files.unlink(path)
        if gone:
            self._files.sync_folder(self.bundles)


def _parse(raw: bytes) -> Pair:
    fields = Fields(json.loads(raw), "slots")
    fields.schema(SCHEMA)
    return Pair(
        fields.value("active", parse_installed, default=None), fields.value("spare", parse_installed, default=None)
    )
