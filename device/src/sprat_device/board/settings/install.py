"""How bundles are fetched and proven: `[install]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """`[install]`."""

    probation_predictions: int = setting(50, values.integer(1), "good predictions that confirm a bundle")
    probation_starts: int = setting(3, values.integer(1, 100), "starts without reaching that, then it is reverted")
    max_error_share: float = setting(0.02, values.number(0, 1), "of a bundle on trial")
    attempts: int = setting(2, values.integer(1, 100), "downloads of one offer")
    poll_s: float = setting(3600.0, values.number(1, 604_800), "between two looks at the hub without an offer")
    minimum_bytes_per_s: int = setting(1024, values.integer(0), "a slower download is given up")
    total_s: float = setting(3600.0, values.number(1, 604_800), "longest time of a download")
