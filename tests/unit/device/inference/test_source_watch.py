"""A feed that breaks, stalls or floods: what is told, what waits, and what begins anew."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from sprat_device.inference.pace import Pace
from sprat_device.inference.sources.item import Feed, Item
from sprat_device.inference.sources.reopening import Reopening
from sprat_device.inference.sources.vigil import Vigil
from sprat_device.inference.sources.waiting import Waiting

ITEM = Item(0, 0, b"1")


class Rig:
    """Time by hand, and everything that was told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.script: list[Any] = []
        self.opened = self.closed = 0

    def tell(self, code: str, detail: Mapping[str, object]) -> None:
        self.told.append((code, detail))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def now_s(self) -> float:
        return self.now

    def open(self) -> Feed:
        self.opened += 1
        if self.script and self.script[0] == "refuses":
            raise FileNotFoundError(2, "No such file or directory", self.script.pop(0))
        return self

    def take(self, timeout_s: float) -> Item | None:
        step = self.script.pop(0) if self.script else None
        if step is None:
            self.now += timeout_s
        if isinstance(step, Exception):
            raise step
        return step  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1

    @property
    def codes(self) -> list[str]:
        return [code for code, _detail in self.told]


def reopening(rig: Rig) -> Reopening:
    return Reopening(rig.open, rig.tell, now_s=rig.now_s, sleep=rig.sleep, jitter=lambda: 1.0)


def test_a_break_is_told_once_and_what_comes_after_it_begins_anew() -> None:
    rig = Rig()
    rig.script = [ITEM, OSError("unplugged"), "refuses", "refuses", ITEM, ITEM]
    feed = reopening(rig)
    items: list[Item] = []
    while rig.script:
        if (item := feed.take(0.25)) is not None:
            items.append(item)
    assert [item.begins for item in items] == [False, True, False]
    assert rig.told == [("source-failed", {"detail": "unplugged"}), ("source-back", {"attempts": 3})]
    assert (rig.opened, rig.closed) == (4, 1)
    assert rig.now == 1 + 2 + 4  # doubled with each attempt


def test_a_program_that_dies_at_once_is_one_event_and_waits_longer_each_time() -> None:
    rig = Rig()
    rig.script = [OSError("ended with 1")] * 8
    feed = reopening(rig)
    starts: list[float] = []
    while rig.script:
        before = rig.opened
        assert feed.take(0.25) is None
        starts += [rig.now] * (rig.opened - before)
    assert rig.codes == ["source-failed"]
    assert [round(b - a) for a, b in pairwise(starts)] == [1, 2, 4, 8, 16, 32, 60]


def test_one_that_breaks_again_soon_waits_longer_each_time_and_one_that_worked_does_not() -> None:
    rig = Rig()
    rig.script = [ITEM, OSError("ended")] * 6
    feed = reopening(rig)
    while rig.script:
        feed.take(0.25)
    assert rig.now == 1 + 2 + 4 + 8 + 16
    assert rig.codes == ["source-failed", "source-back"] * 5 + ["source-failed"]
    assert all(detail == {"attempts": 1} for code, detail in rig.told if code == "source-back")
    rig.script = [ITEM, ITEM]
    while rig.script:
        feed.take(0.25)
        rig.now += 20  # it works for a while
    before, rig.script = rig.now, [OSError("ended"), ITEM]
    while rig.script:
        feed.take(0.25)
    assert rig.now - before == 1


def test_waiting_for_the_next_attempt_takes_no_longer_than_asked_for() -> None:
    rig = Rig()
    rig.script = [OSError("gone")]
    feed = reopening(rig)
    feed.take(0.25)
    begun = rig.now
    feed.take(0.25)
    assert rig.now - begun == 0.25
    feed.close()


def test_silence_is_told_once_and_its_end_too() -> None:
    rig = Rig()
    watched = Vigil(rig, rig.tell, stalled_after_s=2, now_s=rig.now_s)
    rig.script = [ITEM]
    assert watched.take(0.5) is ITEM
    for _ in range(8):
        assert watched.take(0.5) is None
    rig.now += 1000  # nobody asked: no bundle answered
    rig.script = [ITEM, ITEM]
    first, second = watched.take(0.5), watched.take(0.5)
    assert first is not None
    assert second is not None
    assert (first.begins, second.begins) == (True, False)
    assert rig.told == [("source-stalled", {"after_s": 2.0}), ("source-flowing", {"silent_s": 4.0})]


def test_what_was_dropped_is_counted_and_told_now_and_then() -> None:
    rig = Rig()
    watched = Vigil(rig, rig.tell, now_s=rig.now_s)
    for _ in range(30):
        rig.script = [Item(0, 0, dropped=2)]
        item = watched.take(0.5)
        assert item is not None
        assert item.begins
        rig.now += 1
    watched.close()
    assert rig.codes == ["source-overflow"] * 4
    assert sum(int(str(detail["dropped"])) for _code, detail in rig.told) == 60


def test_a_flood_is_held_to_its_pace() -> None:
    rig = Rig()
    watched = Vigil(rig, rig.tell, most_hz=10, now_s=rig.now_s)
    passed = 0
    for _ in range(1000):
        rig.script = [ITEM]
        rig.now += 0.01
        passed += watched.take(0.5) is not None
    watched.close()
    assert 100 <= passed <= 111
    assert sum(int(str(detail["dropped"])) for _code, detail in rig.told) == 1000 - passed


def test_a_pace_of_zero_allows_all_and_a_bucket_holds_a_burst() -> None:
    now = 0.0
    assert all(Pace(0).allows() for _ in range(100))
    pace = Pace(1, burst=3, now_s=lambda: now)
    assert [pace.allows() for _ in range(5)] == [True, True, True, False, False]
    now = 2.0
    assert [pace.allows() for _ in range(3)] == [True, True, False]


def test_the_oldest_makes_room_and_the_next_one_says_how_many_did() -> None:
    waiting = Waiting(2)
    for n in range(5):
        waiting.put(Item(n, n))
    first = waiting.take(0)
    assert first is not None
    assert (first.mono_us, first.dropped) == (3, 3)
    second = waiting.take(0)
    assert second is not None
    assert (second.mono_us, second.dropped) == (4, 0)
    assert waiting.take(0) is None
    waiting.put(Item(9, 9))
    waiting.gone("the other side is gone")
    assert waiting.take(0) is not None  # what came before is taken first
    with pytest.raises(OSError, match="the other side is gone"):
        waiting.take(0)
