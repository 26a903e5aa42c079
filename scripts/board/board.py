"""The virtual board in the world around it: what is asked of its systemd, its agent and the hub, in words of the checks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from qemu import Guest, GuestFailed
from scripts.arm.rows import Table
from world import MODEL, World

UNIT: Final = "sprat-device"
STATE: Final = "/var/lib/sprat"
RATE_HZ: Final = 20
_COUNTED: Final = ("acked", "spooled", "open", "evicted", "damaged")
_SETTINGS: Final = """\
log_level = "{level}"
{more}
[[inputs]]
model = "{model}"
kind = "replay"
path = "{state}/rows.npz"
rate_hz = {rate}
loop = true

[telemetry]
frame_interval_s = 1.0
summary_interval_s = 5.0

[install]
probation_predictions = 40
"""


@dataclass(frozen=True, slots=True)
class Board:
    """One board, known to the hub as `name`."""

    name: str
    guest: Guest
    world: World
    table: Table

    def show(self, what: str, found: object, *, expected: object, ok: bool | None = None) -> None:
        """Add a row of this board."""
        self.table.show(self.name, what, found, expected=expected, ok=ok)

    def fact(self, name: str) -> str:
        """Return one property of the agent's unit."""
        return self.guest.must(f"systemctl show {UNIT} --value -p {name}")

    def await_fact(self, name: str, holds: Callable[[str], bool], *, timeout_s: float = 180) -> str:
        """Wait until a property of the unit is as wanted; GuestFailed with its last value where it does not get so."""
        end = time.monotonic() + timeout_s
        while not holds(value := self.fact(name)):
            if time.monotonic() > end:
                raise GuestFailed(f"{UNIT}: {name} is still {value!r} after {timeout_s:.0f} s")
            time.sleep(0.5)
        return value

    def ready(self, *, timeout_s: float = 240) -> None:
        """Wait until systemd calls the agent active, which is by the agent's own word."""
        self.await_fact("ActiveState", lambda value: value == "active", timeout_s=timeout_s)

    def settings(self, *, level: str = "info", rate_hz: int = RATE_HZ, more: str = "") -> None:
        """Write the agent's settings; whether it reads them is another matter."""
        text = _SETTINGS.format(level=level, model=MODEL, state=STATE, rate=rate_hz, more=more)
        self.guest.must(f"install -o sprat -m 600 /dev/stdin {STATE}/sprat.toml", given=text.encode())

    def status(self) -> dict[str, Any]:
        """Return `sprat-device status`."""
        found: dict[str, Any] = json.loads(self.guest.must("sprat-device status --json"))
        return found

    def own_ledger(self) -> tuple[int, int, int]:
        """Return what the board's ledger tells: records produced, records lost, lanes that do not balance."""
        own = self.status()["report"]["ledger"]
        unequal = sum(row["produced"] != sum(row[count] for count in _COUNTED) for row in own.values())
        lost = sum(row["evicted"] + row["damaged"] for row in own.values())
        return sum(row["produced"] for row in own.values()), lost, unequal

    def show_ledgers(self, when: str) -> None:
        """Show that the board's ledger and the hub's balance, and that the hub has nothing twice and nothing missing."""
        produced, lost, unequal = self.own_ledger()
        found = f"{produced} records, {lost} lost, {unequal} lanes off balance"
        self.show(f"the board's ledger {when}", found, expected="0 lost, 0 off balance", ok=not lost and not unequal)
        lanes = self.world.hub.client.ledger(self.name)
        counts = {what: sum(lane[what] for lane in lanes.values()) for what in ("missing", "evicted", "damaged")}
        found = ", ".join(f"{count} {what}" for what, count in counts.items())
        self.show(f"the hub's ledger {when}", found, expected="all 0", ok=bool(lanes) and not any(counts.values()))
        self._show_stream(when)

    def _show_stream(self, when: str) -> None:
        """Every start of the agent counts its predictions from 0: what follows another is its successor, or a start's first."""
        rows = self.world.predictions(self.name)
        doubled = len(rows) - len({(row["epoch"], row["seq"], row["index"]) for row in rows})
        indexes = [int(row["index"]) for row in rows]
        gaps = sum(later not in {earlier + 1, 0} for earlier, later in pairwise(indexes))
        found = f"{len(rows)} of {indexes.count(0)} starts, {gaps} gaps, {doubled} doubled"
        self.show(f"predictions at the hub {when}", found, expected="0 gaps, 0 doubled", ok=bool(rows) and gaps == doubled == 0)  # fmt: skip

    def journal(self, *, lines: int = 30) -> str:
        """Return the last that the agent's unit said."""
        return self.guest.run(f"journalctl -u {UNIT} -n {lines} --no-pager -o short-monotonic").stdout
