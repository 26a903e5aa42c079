"""Maintenance windows: what people write, when it is open, and when it opens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprat_device.contract import maintenance
from sprat_device.contract.errors import ContractError
from sprat_device.contract.maintenance import of_texts, parse


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "offset", "when", "is_open"),
    [
        ([], "+00:00", "2026-11-21T18:00", True),
        (["mon-fri 02:00-05:00"], "+00:00", "2026-11-23T02:00", True),  # a Monday
        (["mon-fri 02:00-05:00"], "+00:00", "2026-11-23T01:59:59", False),
        (["mon-fri 02:00-05:00"], "+00:00", "2026-11-23T05:00", False),
        (["mon-fri 02:00-05:00"], "+00:00", "2026-11-22T03:00", False),
        (["sun 22:00-04:00"], "+00:00", "2026-11-22T23:00", True),
        (["sun 22:00-04:00"], "+00:00", "2026-11-23T03:59", True),  # Monday's morning belongs to Sunday's window
        (["sun 22:00-04:00"], "+00:00", "2026-11-22T03:59", False),
        (["sat-mon 00:00-24:00"], "+00:00", "2026-11-23T23:59", True),
        (["sat-mon 00:00-24:00"], "+00:00", "2026-11-24T00:00", False),
        (["sat,wed 00:00-00:00"], "+00:00", "2026-11-25T12:00", True),
        (["mon 02:00-05:00"], "+01:00", "2026-11-23T01:30", True),
        (["mon 02:00-05:00"], "+01:00", "2026-11-23T04:30", False),
        (["mon 02:00-05:00"], "-05:30", "2026-11-23T08:00", True),
        (["mon 02:00-05:00", "tue 02:00-05:00"], "+00:00", "2026-11-24T04:00", True),
    ],
)
def test_windows_in_local_time(windows: list[str], offset: str, when: str, is_open: bool) -> None:
    assert of_texts(windows, [], offset).is_open(at(when)) is is_open


def test_a_blackout_wins_over_a_window_and_a_deferral_over_both() -> None:
    asked = parse({
        "windows": ["sat 00:00-24:00"], "blackouts": ["2026-11-21T10:00/2026-11-21T12:00"], "utc_offset": "+02:00",
        "defer_until": "2026-11-21T08:00", "of a later version": {"x": 1},
    })  # fmt: skip
    opened = [hour for hour in range(24) if asked.is_open(at(f"2026-11-21T{hour:02d}:00"))]
    assert opened == [6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]


@pytest.mark.parametrize(
    ("windows", "blackouts", "opens"),
    [
        (["mon 02:00-05:00"], [], "2026-11-23T02:00"),
        (["sat 12:00-13:00"], [], "2026-11-21T12:00"),
        (["sat 01:00-02:00"], [], "2026-11-28T01:00"),
        ([], ["2026-11-01T00:00/2027-01-05T00:00"], "2027-01-05T00:00"),
        (["mon 02:00-05:00"], ["2026-11-01T00:00/2027-01-05T00:00"], "2027-01-11T02:00"),
        (["mon 02:00-05:00"], ["2026-11-01T00:00/2026-11-23T03:00"], "2026-11-23T03:00"),
    ],
)
def test_when_it_opens_next(windows: list[str], blackouts: list[str], opens: str) -> None:
    assert of_texts(windows, blackouts, "+00:00").opens(at("2026-11-21T10:00")) == at(opens)


@pytest.mark.parametrize(
    "raw",
    [
        {"windows": "mon 02:00-05:00"}, {"windows": ["monday 02:00-05:00"]}, {"windows": ["mon 2:00-5:00"]},
        {"windows": ["mon 02:00-25:00"]}, {"windows": ["mon 24:00-25:00"]}, {"windows": ["mon 24:00-02:00"]},
        {"windows": ["mon 02:61-05:00"]}, {"windows": ["mon-xyz 02:00-05:00"]}, {"windows": [""]}, {"windows": [7]},
        {"windows": ["mon 02:00-05:00"] * 101}, {"blackouts": ["2026-12-24"]}, {"blackouts": ["x/y"]},
        {"blackouts": ["2026-12-27T00:00/2026-12-24T00:00"]}, {"blackouts": ["2026-12-24T00:00Z/2026-12-25T00:00Z"]},
        {"utc_offset": "1"}, {"utc_offset": "+15:00"}, {"utc_offset": "Europe/Berlin"}, {"defer_until": "tomorrow"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(ContractError):
        parse(raw)


@given(
    st.lists(
        st.sampled_from(["mon 02:00-05:00", "tue-thu 22:30-01:15", "sun 00:00-24:00", "fri 23:59-00:00"]), min_size=1
    ),
    st.integers(0, 14 * 24 * 60),
    st.sampled_from(["+00:00", "+05:45", "-11:00"]),
)
def test_it_opens_at_the_first_minute_that_is_open(windows: list[str], minutes: int, offset: str) -> None:
    asked = of_texts(windows, [], offset)
    now = at("2026-11-16T00:00") + timedelta(minutes=minutes)
    first = next(then for i in range(9 * 24 * 60) if asked.is_open(then := now + timedelta(minutes=i)))
    assert asked.opens(now) == first


def test_days_of_a_week_are_seven() -> None:
    everyday = of_texts(["thu-wed 00:00-24:00"], [], "+00:00")
    assert len(everyday.windows[0].days) == len(maintenance.DAYS) == 7
