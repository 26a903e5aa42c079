"""A day's byte budget that survives restarts and clocks that jump.

Each UTC day of a synchronised clock grants the budget once, and a clock that jumps grants nothing: a day must have passed
(`board/days.py`). While the clock is not synchronised nothing is known of days, and the budget is granted anew after a day
of uptime. What is written runs ahead of what is spent, so that a crash forgets nothing and each write serves long.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sprat_device.board.days import DAY_US, Days, Moment, parse
from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields
from sprat_device.contract.twin import Detail

SCHEMA: Final = "sprat.budget/1"
_NEARLY: Final = 0.8
"""Share of the budget from which only samples are kept; beyond the whole of it only summaries are."""
_STEPS: Final = (Detail.FULL, Detail.SAMPLED, Detail.SUMMARY)
_AHEAD: Final = 16
"""The budget is written in so many parts, each before it is spent."""
_REMEMBERED: Final = 64
"""Days that a clock may be at, boot by boot, without being granted a budget twice."""
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class DailyBudget:
    """Bytes of frames in one day; `limit_bytes` 0 is no limit."""

    limit_bytes: int = 0
    spent: dict[int, int] = field(default_factory=dict)
    """UTC day -> bytes, the day in use last; -1 stands for one of which only the uptime is known."""
    uptime_us: int = 0
    """Since the budget was granted."""
    days: Days = field(default_factory=Days)
    _last_mono_us: int | None = None

    @property
    def day(self) -> int:
        """Return the day in use."""
        return next(reversed(self.spent), -1)

    def spend(self, size: int, now: Moment) -> None:
        """Count a frame, on the day that it is."""
        self._pass(now)
        self.spent[self.day] = self.spent.get(self.day, 0) + size

    def detail(self, wish: Detail) -> Detail:
        """Return the wish, or the lesser detail that the budget still allows."""
        spent = self.spent.get(self.day, 0)
        if not self.limit_bytes or spent < _NEARLY * self.limit_bytes:
            return wish
        allowed = Detail.SUMMARY if spent >= self.limit_bytes else Detail.SAMPLED
        return max(wish, allowed, key=_STEPS.index)

    def _pass(self, now: Moment) -> None:
        if self._last_mono_us is not None:
            self.uptime_us += max(0, now.mono_us - self._last_mono_us)
        self._last_mono_us = now.mono_us
        over = self.days.passed(self.day, now)
        if now.synchronised and over:
            # What was spent before the date was known was spent on this day, as far as anybody can tell.
            self._begin(now, now.day, self.spent.pop(now.day, 0) + self.spent.pop(-1, 0))
        elif not now.synchronised and self.uptime_us >= DAY_US:
            self._begin(now, -1, 0)

    def _begin(self, now: Moment, day: int, spent: int) -> None:
        self.days.begin(now)
        self.spent.pop(day, None)
        self.spent[day] = spent
        self.uptime_us = 0
        while len(self.spent) > _REMEMBERED:
            del self.spent[next(iter(self.spent))]


class KeptBudget:
    """A budget and its file."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._written: tuple[int, int] = (-2, 0)

    def load(self) -> DailyBudget:
        """Return what was kept; a new budget where nothing was, or what was is damaged."""
        try:
            document: Any = json.loads(self._files.read(self._path))
            fields = Fields(document, "budget")
            fields.schema(SCHEMA)
            days = fields.items("spent", _day)
            since = None if fields.absent("since") else fields.value("since", parse)
            return DailyBudget(spent=dict(days), uptime_us=fields.integer("uptime_us"), days=Days(since))
        except FileNotFoundError:
            return DailyBudget()
        except (OSError, ValueError, ContractError) as exc:
            _log.warning("telemetry: the day's budget begins anew, for its file cannot be read (%s)", exc)
            return DailyBudget()

    def keep(self, budget: DailyBudget, *, exact: bool = False) -> None:
        """Write the budget if what is written no longer covers it; `exact` at a clean end."""
        if not budget.limit_bytes:
            return
        day, spent = budget.day, budget.spent.get(budget.day, 0)
        ahead = spent if exact else spent + budget.limit_bytes // _AHEAD
        written_day, written = self._written
        if day == written_day and (spent == written if exact else spent <= written):
            return
        days = [[one, ahead if one == day else bytes_] for one, bytes_ in budget.spent.items()]
        try:
            since = {} if budget.days.since is None else {"since": budget.days.since.plain()}
            document = {"schema": SCHEMA, "spent": days, "uptime_us": budget.uptime_us, **since}
            self._files.write_atomic(self._path, json.dumps(document).encode())
        except OSError as exc:
            _log.warning("telemetry: the day's budget cannot be kept (%s)", exc)
        self._written = (day, ahead)  # also after a failure: a full disk must not be asked with every frame


def _day(raw: object, where: str) -> tuple[int, int]:
    match raw:
        case [int(day), int(spent)] if day >= -1 and spent >= 0:
            return day, spent
        case _:
            raise ContractError(f"{where}: expected [day, bytes]")
