"""The list of devices: search, filter, sort and page, each a part of the address so that a view can be shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urlencode

from sprat.hub.queries.board import DeviceRow, Fleet
from sprat.hub.queries.health import Health

PAGE_SIZE: Final = 25
_MAX_TEXT: Final = 100


def _worst(row: DeviceRow) -> tuple[Any, ...]:
    return list(Health).index(row.health), row.id


def _release(row: DeviceRow) -> tuple[Any, ...]:
    return tuple((state.model, slot.release_seq if (slot := state.running) else 0) for state in row.models), row.id


SORTS: Final[Mapping[str, Callable[[DeviceRow], Any]]] = {
    "device": lambda row: row.id,
    "state": _worst,
    "release": _release,
    "p95": lambda row: (row.signals.p95_us or -1.0, row.id),
    "drift": lambda row: (row.signals.drift or -1.0, row.id),
    "predictions": lambda row: (row.signals.predictions, row.id),
    "seen": lambda row: (-row.seen_us, row.id),
}


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """What a reader asked for; `sort` may begin with `-` to turn the order round."""

    q: str = ""
    state: str = ""
    release: str = ""
    channel: str = ""
    sort: str = "device"
    page: int = 1

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Self:
        """Read the query part of an address: what it cannot mean is left out."""
        page = raw.get("page", "1")
        sort = raw.get("sort", "device")
        state = raw.get("state", "")
        return cls(
            q=raw.get("q", "")[:_MAX_TEXT].strip(),
            state=state if state in set(Health) else "",
            release=raw.get("release", "")[:_MAX_TEXT],
            channel=raw.get("channel", "")[:_MAX_TEXT],
            sort=sort if sort.removeprefix("-") in SORTS else "device",
            page=int(page) if page.isascii() and page.isdecimal() and 0 < len(page) < 7 else 1,
        )

    def address(self, **changes: Any) -> str:
        """Return the address of this list with changes; any change but of the page leads to the first page."""
        wanted = replace(self, **{"page": 1, **changes})
        standard = asdict(DeviceQuery())
        told = {key: value for key, value in asdict(wanted).items() if value != standard[key]}
        return "/devices" + (f"?{urlencode(told)}" if told else "")

    def sorted_by(self, column: str) -> str:
        """Return the address that sorts by a column, the other way round if it already does."""
        return self.address(sort=f"-{column}" if self.sort == column else column)


@dataclass(frozen=True, slots=True)
class DevicePage:
    """One page of the list."""

    query: DeviceQuery
    rows: tuple[DeviceRow, ...]
    found: int
    of_all: int
    pages: int
    releases: tuple[str, ...]
    channels: tuple[str, ...]


def page(fleet: Fleet, query: DeviceQuery) -> DevicePage:
    """Return the page of devices that a query asks for."""
    found = [row for row in fleet.rows if _matches(row, query)]
    found.sort(key=SORTS[query.sort.removeprefix("-")], reverse=query.sort.startswith("-"))
    pages = max(1, -(-len(found) // PAGE_SIZE))
    number = min(query.page, pages)
    start = (number - 1) * PAGE_SIZE
    return DevicePage(
        query=replace(query, page=number),
        rows=tuple(found[start : start + PAGE_SIZE]),
        found=len(found),
        of_all=len(fleet.rows),
        pages=pages,
        releases=tuple(f"{model} {seq}" for model, seq in sorted(fleet.running, key=lambda pair: (pair[0], -pair[1]))),
        channels=tuple(sorted({row.device.channel for row in fleet.rows})),
    )


def _matches(row: DeviceRow, query: DeviceQuery) -> bool:
    if query.state and row.health != query.state:
        return False
    if query.channel and row.device.channel != query.channel:
        return False
    running = {f"{state.model} {slot.release_seq}" for state in row.models if (slot := state.running)}
    if query.release and query.release not in running:
        return False
    text = " ".join((row.id, *(f"{key}={value}" for key, value in row.device.labels.items())))
    return all(word in text.lower() for word in query.q.lower().split())
