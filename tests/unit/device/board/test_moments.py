from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sprat_device.board.clock import moment


@pytest.mark.parametrize(
    ("wall_us", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_790_000_000_123_456, datetime(2026, 9, 21, 14, 13, 20, 123456, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        # Where time_t has 32 bits, `fromtimestamp` raises for these: scripts/test-arm armhf runs this test there.
        (2**31 * 1_000_000, datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)),
        (4_102_444_800_000_000, datetime(2100, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_the_same_on_every_machine(wall_us: int, expected: datetime) -> None:
    assert moment(wall_us) == expected
