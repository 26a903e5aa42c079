"""The radio: how strong the access point is heard, as wireless drivers tell it in one file."""

from __future__ import annotations

from pathlib import Path

from sprat_device.board.health.reading import Probe, Values, text

_HEAD_LINES: int = 2


class Network:
    """Reads /proc/net/wireless: `wlan0: 0000 54. -56. -256 …`, the third column being the level in dBm."""

    def __init__(self, proc: Path) -> None:
        self._path = proc / "net/wireless"

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Return what there is to read."""
        return (self._level,)

    def _level(self) -> Values:
        rows = [line.split() for line in text(self._path).splitlines()[_HEAD_LINES:]]
        levels = [float(row[3].rstrip(".")) for row in rows]
        return {"wifi_dbm": max(levels)} if levels and max(levels) < 0 else {}
