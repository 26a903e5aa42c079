"""The state of the link, second by second: when the next attempt is due, and what makes the delays begin anew."""

from __future__ import annotations

import pytest

from sprat_device.telemetry.link import Link


def _lost(link: Link, now: float, *, taken_over: bool = False) -> float:
    return link.lost(now, taken_over=taken_over, dice=1.0)


def test_an_attempt_is_due_at_once_and_then_after_its_delay() -> None:
    link = Link()
    assert link.due(0)
    link.connecting(0)
    assert not link.due(0)
    assert _lost(link, 5) == 1
    assert not link.due(5.9)
    assert link.due(6)


def test_a_broker_has_twenty_seconds_to_answer() -> None:
    link = Link()
    link.connecting(100)
    assert not link.unanswered(119.9)
    assert link.unanswered(120)
    link.connected(119)
    assert link.up
    assert not link.unanswered(500)


def test_attempts_that_fail_wait_twice_as_long_each_up_to_five_minutes() -> None:
    link = Link()
    assert [_lost(link, 0) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert link.attempts == 10


@pytest.mark.parametrize(("held_s", "delay_s"), [(29.9, 4), (30, 1)])
def test_only_a_connection_that_held_makes_the_delays_begin_anew(held_s: float, delay_s: float) -> None:
    link = Link()
    _lost(link, 0)
    _lost(link, 0)
    link.connected(100)
    assert _lost(link, 100 + held_s) == delay_s


def test_time_spent_down_is_no_time_that_a_connection_held() -> None:
    link = Link()
    _lost(link, 0)
    link.connecting(0)
    assert _lost(link, 1000) == 2


def test_a_word_of_the_hub_makes_the_delays_begin_anew() -> None:
    link = Link()
    _lost(link, 0)
    link.connected(1)
    link.proven()
    assert _lost(link, 2) == 1


@pytest.mark.parametrize(("alone_s", "delay_s"), [(599, 60), (600, 30)])
def test_who_shares_our_name_is_left_longer_until_we_were_alone(alone_s: float, delay_s: float) -> None:
    link = Link()
    link.connected(0)
    assert _lost(link, 1, taken_over=True) == 30
    link.connected(100)
    assert _lost(link, 100 + alone_s, taken_over=True) == delay_s
