"""How many readings of many values are looked at, beside the model that answers on the same processor.

A short reading always is. Of images and sound so many are that a hundred thousand values a second are looked at: shares
of bins need no more, and what is rare is rare in the others too. That is 30 images of 32 x 32 pixels in colour in a second
or 40 of 224 x 224 in a minute, and a fiftieth of a slow processor. A token bucket keeps count, as the one moment until which
all that was looked at is paid (virtual scheduling, ITU-T I.371).
"""

from __future__ import annotations

from typing import Final

VALUES_PER_S: Final = 100_000
SHORT: Final = 256


class Looks:
    """The bucket of one input's readings, each of `size` values."""

    def __init__(self, size: int) -> None:
        self._cost_us = size * 1e6 / VALUES_PER_S if size > SHORT else 0.0
        self._allowance_us = max(0.0, 1e6 - self._cost_us)
        self._paid_until_us = 0.0

    def afford(self, mono_us: int) -> bool:
        """Tell whether a reading of this time may be looked at, and if so count it."""
        if mono_us < self._paid_until_us - self._allowance_us:
            return False
        self._paid_until_us = max(self._paid_until_us, mono_us) + self._cost_us
        return True
