"""What is told to the hub, and how much of the disk and the link it may take: `[telemetry]`."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.contract.twin import Detail


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """`[telemetry]`."""

    detail: str = setting(Detail.FULL.value, values.choice(*Detail), "full, sampled or summary")
    sample_every: int = setting(
        20, values.integer(1), "of predictions, under detail sampled; unusual ones are always kept"
    )
    frame_interval_s: float = setting(5.0, values.number(0.05, 3600), "what a power cut may lose at most")
    cap_bytes: int = setting(64 * 1024 * 1024, values.integer(1024 * 1024), "the spool's room on the disk")
    window_frames: int = setting(16, values.integer(1, 1000), "frames under way without the hub's ack")
    backlog_bytes_per_s: int = setting(256 * 1024, values.integer(0), "pace of what waited; 0 is no limit")
    daily_bytes: int = setting(0, values.integer(0), "detail steps down when a day's frames exceed it; 0 is no limit")
    summary_interval_s: float = setting(60.0, values.number(0.1, 86_400), "between two summaries")
    live_per_s: float = setting(
        0.0, values.number(0, 100), "newest predictions of each input told on up/live, for people; 0 is off"
    )
