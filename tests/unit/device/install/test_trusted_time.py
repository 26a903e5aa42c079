from hypothesis import given
from hypothesis import strategies as st

from sprat_device.install.trusted_time import BUILT_US, TimeMark, parse_mark, trusted_us

DAY = 86_400_000_000
ISSUED = BUILT_US + 100 * DAY
MARK = TimeMark(ISSUED, ISSUED + 30 * DAY, 5 * DAY, ("k",))


def test_a_clock_that_is_not_set_does_not_count() -> None:
    assert trusted_us(None, mono_us=0, wall_us=0, synchronised=False) == BUILT_US
    assert trusted_us(MARK, mono_us=5 * DAY, wall_us=ISSUED + 9000 * DAY, synchronised=False) == ISSUED


def test_uptime_counts() -> None:
    assert trusted_us(MARK, mono_us=7 * DAY, wall_us=0, synchronised=False) == ISSUED + 2 * DAY


def test_after_a_reboot_only_the_new_uptime_counts() -> None:
    assert trusted_us(MARK, mono_us=DAY, wall_us=0, synchronised=False) == ISSUED + DAY


def test_a_set_clock_moves_time_forward_to_the_end_of_the_timestamp_at_most() -> None:
    wall = ISSUED + 3 * DAY
    assert trusted_us(MARK, mono_us=5 * DAY, wall_us=wall, synchronised=True) == wall
    assert trusted_us(MARK, mono_us=5 * DAY, wall_us=ISSUED + 9000 * DAY, synchronised=True) == MARK.expires_us
    assert trusted_us(MARK, mono_us=5 * DAY, wall_us=0, synchronised=True) == ISSUED


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**17))
def test_time_is_never_ahead_of_what_has_passed(elapsed: int, uptime: int, wall: int) -> None:
    """Whatever a device lived through since the mark, an unsynchronised one believes at most that."""
    truth = ISSUED + elapsed
    same_boot = trusted_us(MARK, mono_us=MARK.mono_us + elapsed, wall_us=wall, synchronised=False)
    rebooted = trusted_us(MARK, mono_us=min(uptime, elapsed), wall_us=wall, synchronised=False)
    assert ISSUED <= same_boot <= truth
    assert ISSUED <= rebooted <= truth


def test_a_mark_survives_the_disk() -> None:
    assert parse_mark(MARK.dump()) == MARK
