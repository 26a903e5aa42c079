"""When a device may change what answers: windows by weekday and time, blackouts, and a time before which nothing starts.

In the desired twin (`maintenance`) and in the device's own settings alike:

    {"windows": ["mon-fri 02:00-05:00", "sun 22:00-04:00"], "blackouts": ["2026-12-24T00:00/2026-12-27T00:00"],
     "utc_offset": "+01:00", "defer_until": "2026-12-01T06:00"}

No window means always. A window whose end is not after its beginning passes midnight and belongs to the day on which it
begins. Ends are not part of a window or blackout. All times are local: UTC plus `utc_offset`, without summer time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_RULES: Final = 100
_WINDOW: Final = re.compile(r"([a-z,-]+) (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_DAY_MIN: Final = 24 * 60
_AHEAD_DAYS: Final = 8


@dataclass(frozen=True, slots=True)
class Window:
    """Days (0 is Monday) and minutes of the day; `until` may be beyond midnight."""

    days: frozenset[int]
    since: int
    until: int

    def holds(self, at: datetime) -> bool:
        """Tell whether a local time lies in it."""
        minute = at.hour * 60 + at.minute
        today, yesterday = at.weekday(), (at.weekday() - 1) % 7
        return (today in self.days and self.since <= minute < self.until) or (
            yesterday in self.days and minute < self.until - _DAY_MIN
        )


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What is asked of the time; local times are naive."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[tuple[datetime, datetime], ...] = ()
    offset: timedelta = timedelta(0)
    defer_until: datetime | None = None

    @property
    def asks(self) -> bool:
        """Tell whether it asks anything of the time."""
        return bool(self.windows or self.blackouts or self.defer_until)

    def is_open(self, now: datetime) -> bool:
        """Tell whether a change may begin at a time in UTC."""
        return self._holds(self._local(now))

    def opens(self, now: datetime) -> datetime | None:
        """Return when it is next open (UTC), as far as eight days after the last blackout; None: not within that."""
        local = self._local(now)
        found = min((at for at in self._turns(local) if at >= local and self._holds(at)), default=None)
        return (found - self.offset).replace(tzinfo=UTC) if found else None

    def _local(self, now: datetime) -> datetime:
        return now.astimezone(UTC).replace(tzinfo=None) + self.offset

    def _holds(self, at: datetime) -> bool:
        if self.defer_until is not None and at < self.defer_until:
            return False
        if any(since <= at < until for since, until in self.blackouts):
            return False
        return not self.windows or any(window.holds(at) for window in self.windows)

    def _turns(self, local: datetime) -> Iterator[datetime]:
        """Give every time at which it can become open."""
        ends = [local, *(until for _, until in self.blackouts), *filter(None, [self.defer_until])]
        yield from ends
        for end in ends:
            midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
            for day in range(_AHEAD_DAYS):
                for window in self.windows:
                    yield midnight + timedelta(days=day, minutes=window.since)


def parse(raw: Mapping[str, Any]) -> Maintenance:
    """Read what a twin says, or raise ContractError; unknown fields are left alone."""
    fields = Fields(raw, "maintenance")
    made = of_texts(
        fields.items("windows", text, default=()),
        fields.items("blackouts", text, default=()),
        fields.text("utc_offset", default="+00:00"),
    )
    until = fields.text("defer_until", default="")
    return replace(made, defer_until=_time(until)) if until else made


def of_texts(windows: Iterable[str], blackouts: Iterable[str], utc_offset: str) -> Maintenance:
    """Read windows, blackouts and the offset as people write them, or raise ContractError."""
    rules = [*windows], [*blackouts]
    if max(map(len, rules)) > MOST_RULES:
        raise ContractError(f"maintenance: {max(map(len, rules))} rules, at most {MOST_RULES} are allowed")
    return Maintenance(tuple(map(_window, rules[0])), tuple(map(_blackout, rules[1])), _offset(utc_offset))


def _window(raw: str) -> Window:
    found = _WINDOW.fullmatch(raw.strip())
    if found is None:
        raise ContractError(f"window {raw[:80]!r}: expected days and times, as in 'mon-fri 02:00-05:00'")
    since, until = _minute(found[2], found[3], raw), _minute(found[4], found[5], raw)
    if since == _DAY_MIN:
        raise ContractError(f"window {raw[:80]!r}: begins at 24:00; write 00:00 of the next day")
    return Window(frozenset(_days(found[1], raw)), since, until if until > since else until + _DAY_MIN)


def _minute(hours: str, minutes: str, raw: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MIN:
        raise ContractError(f"window {raw[:80]!r}: {hours}:{minutes} is no time of a day")
    return minute


def _days(names: str, raw: str) -> Iterator[int]:
    for part in names.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ContractError(f"window {raw[:80]!r}: {part!r} is no day; days are {', '.join(DAYS)}")
        begin = DAYS.index(first)
        yield from ((begin + i) % 7 for i in range((DAYS.index(last or first) - begin) % 7 + 1))


def _blackout(raw: str) -> tuple[datetime, datetime]:
    since, slash, until = raw.strip().partition("/")
    if not slash:
        raise ContractError(f"blackout {raw[:80]!r}: expected two times, as in '2026-12-24T00:00/2026-12-27T00:00'")
    found = _time(since), _time(until)
    if found[0] >= found[1]:
        raise ContractError(f"blackout {raw[:80]!r}: ends before it begins")
    return found


def _time(raw: str) -> datetime:
    try:
        found = datetime.fromisoformat(raw)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ContractError(f"time {raw[:80]!r}: expected a local time without a zone, as in '2026-12-24T00:00'")
    return found


def _offset(raw: str) -> timedelta:
    found = _OFFSET.fullmatch(raw)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        raise ContractError(f"utc_offset {raw[:20]!r}: expected hours and minutes, as in '+01:00'")
    return timedelta(hours=int(found[2]), minutes=int(found[3])) * (-1 if found[1] == "-" else 1)
