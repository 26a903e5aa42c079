"""The desired half of the twin: what the hub wants of this device, kept until something newer comes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract import twin
from sprat_device.contract.errors import ContractError
from sprat_device.contract.twin import Desired

_LOG: Final = logging.getLogger("sprat.agent")


class DesiredState:
    """The desired state that was taken last; it outlives a restart."""

    def __init__(self, state: Path, files: Files) -> None:
        self._path = state / "desired.json"
        self._files = files
        self.current = self._last()
        self._waiting: Desired | None = None

    def take(self, desired: Desired) -> bool:
        """Keep a state that is newer, or of another incarnation (a restored hub starts with lower versions)."""
        newest = self._waiting or self.current
        if desired.incarnation == newest.incarnation and desired.version <= newest.version:
            return False
        self._waiting = desired
        return self.keep()

    def keep(self) -> bool:
        """Write what was taken; False where nothing waits, or the disk does not take it yet: ask again later."""
        if self._waiting is None:
            return False
        try:
            self._files.write_atomic(self._path, self._waiting.dump())
        except OSError as exc:
            _LOG.warning("what the hub desires waits for the disk (%s)", exc)
            return False
        self.current, self._waiting = self._waiting, None
        return True

    def _last(self) -> Desired:
        if not self._files.exists(self._path):
            return Desired(incarnation="", version=0)
        try:
            return twin.parse_desired(self._files.read(self._path))
        except (OSError, ContractError) as exc:
            # The hub's retained message is taken anew. Until then nobody knows what is wanted, so nothing is taken back.
            _LOG.warning("%s cannot be read (%s), the hub is waited for", self._path, exc)
            return Desired(incarnation="", version=0)

    @property
    def known(self) -> bool:
        """Tell whether the hub has ever said what it wants, as far as this device can read."""
        return bool(self.current.incarnation)
