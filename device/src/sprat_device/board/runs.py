"""How often the agent began here, and how its last run ended: `runs.json`, written at each beginning and each end.

An end that was not written is `killed`, or a `power-cut` where the machine has booted since. Without a boot id of the
kernel (some containers hide it) the two cannot be told apart, and each counts as a power cut.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

SCHEMA: Final = "sprat.runs/1"
_LOG: Final = logging.getLogger("sprat.agent")
_MOST_DETAIL: Final = 300


class End(StrEnum):
    """How a run ended."""

    NONE = "none"
    """There was no run before."""
    CLEAN = "clean"
    RESTART = "restart"
    """It began anew by itself: it was asked to, or its disk could be written again."""
    CRASH = "crash"
    KILLED = "killed"
    POWER_CUT = "power-cut"


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `end` is NONE while it lasts."""

    starts: int = 0
    boot_id: str = ""
    end: End = End.NONE
    detail: str = ""
    crashes: int = 0
    """Runs that ended by a defect, by a kill or by a watchdog, since the state folder was made."""


class Runs:
    """The record of this run and of the one before."""

    def __init__(self, state: Path, files: Files, *, boot_id: bytes) -> None:
        self._path = state / "runs.json"
        self._files = files
        self._boot_id = boot_id.hex()
        self.this = Run()
        self.last_end = End.NONE
        self.last_detail = ""

    def begin(self) -> None:
        """Count a beginning, and tell from the record how the run before ended."""
        before = self._read()
        self.last_end, self.last_detail = self._ended(before), before.detail
        crashed = self.last_end in {End.CRASH, End.KILLED}
        self.this = Run(before.starts + 1, self._boot_id, crashes=before.crashes + crashed)
        self._write(self.this)

    def end(self, how: End, detail: str = "") -> None:
        """Write how this run ends."""
        self._write(replace(self.this, end=how, detail=" ".join(detail.split())[:_MOST_DETAIL]))

    def _ended(self, run: Run) -> End:
        if run.end is not End.NONE or not run.starts:
            return run.end
        return End.KILLED if run.boot_id == self._boot_id else End.POWER_CUT

    def _read(self) -> Run:
        if not self._files.exists(self._path):
            return Run()
        try:
            fields = Fields(json.loads(self._files.read(self._path)), "runs")
            fields.schema(SCHEMA)
            return Run(
                starts=fields.integer("starts"),
                boot_id=fields.text("boot_id", max_length=64),
                end=fields.choice("end", End),
                detail=fields.text("detail", default="", max_length=1024),
                crashes=fields.integer("crashes", default=0),
            )
        except (OSError, ValueError, ContractError) as exc:
            _LOG.warning("%s cannot be read (%s), the count begins anew", self._path, exc)
            return Run()

    def _write(self, run: Run) -> None:
        try:
            self._files.write_atomic(self._path, json.dumps({"schema": SCHEMA, **asdict(run)}).encode())
        except OSError as exc:
            _LOG.warning("%s cannot be written (%s): the next run will not know how this one ended", self._path, exc)
