"""How many readings of many values are looked at, beside the model that answers on the same processor.

A short reading always is. Of images and sound so many are that half a million values a second are looked at (a token
bucket of values): shares of bins need no more, and what is rare is rare in the others too.
"""

from __future__ import annotations

from typing import Final

VALUES_PER_S: Final = 500_000
SHORT: Final = 256


class Looks:
    """The bucket of one input's readings, each of `size` values."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._credit = self._most = float(max(size, VALUES_PER_S))
        self._credited_us = 0

    def afford(self, mono_us: int) -> bool:
        """Tell whether a reading of this time may be looked at, and if so count it."""
        if self._size <= SHORT:
            return True
        passed_s = max(0, mono_us - self._credited_us) / 1e6
        self._credited_us = mono_us
        self._credit = min(self._most, self._credit + passed_s * VALUES_PER_S)
        if self._credit < self._size:
            return False
        self._credit -= self._size
        return True
