"""Takes frames from a mailbox, commits them in batches, and only then acks them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from sprat.errors import MachineLacks
from sprat.hub.store.ranges import Ranges
from sprat.hub.store.telemetry_commit import TelemetryWriter
from sprat.hub.store.telemetry_values import Anchor, NewFrame, Outcome, Spoiled, Verdict
from sprat.hub.telemetry import intake
from sprat_device.contract.acks import Ack
from sprat_device.contract.phases import Lane

MAX_FRAMES: Final = 256
MAX_BYTES: Final = 8 * 1024 * 1024
"""A batch is what is queued, up to these bounds: a larger one would only make acks late."""

log = logging.getLogger(__name__)


class Mailbox(Protocol):
    """Where frames come from and acks go to."""

    def take(self, *, timeout_s: float, max_frames: int, max_bytes: int) -> list[tuple[str, bytes]]:
        """Return what is queued (device and frame), waiting at most `timeout_s` for the first."""

    def ack(self, device: str, ack: Ack) -> None:
        """Tell a device what is safe."""


class Worker:
    """One batch after the other."""

    def __init__(self, writer: TelemetryWriter, mailbox: Mailbox, now_us: Callable[[], int]) -> None:
        self._writer = writer
        self._mailbox = mailbox
        self._now_us = now_us
        self._anchors: dict[tuple[str, bytes], Anchor] = {}

    def step(self, timeout_s: float) -> int:
        """Commit and ack one batch; returns how many frames it had. Without a commit there is no ack: they come again."""
        arrived = self._mailbox.take(timeout_s=timeout_s, max_frames=MAX_FRAMES, max_bytes=MAX_BYTES)
        if not arrived:
            return 0
        received_us = self._now_us()
        batch = [self._read(device, raw, received_us) for device, raw in arrived]
        try:
            verdicts = self._writer.commit(batch)
        except MachineLacks as exc:
            log.error("%s; %d frames stay with their devices", exc, len(batch))  # noqa: TRY400 - one line, its remedy in it
            return 0
        for device, ack in acks(verdicts):
            self._mailbox.ack(device, ack)
        return len(batch)

    def _read(self, device: str, raw: bytes, received_us: int) -> NewFrame | Spoiled:
        arrival = intake.read(device, raw, received_us, self._anchor)
        if isinstance(arrival, NewFrame):
            if len(self._anchors) > 100_000:
                self._anchors.clear()  # they are in the store as well
            self._anchors[device, arrival.header.boot_id] = arrival.anchor
        return arrival

    def _anchor(self, device: str, boot_id: bytes) -> Anchor | None:
        if (known := self._anchors.get((device, boot_id))) is not None:
            return known
        return self._writer.anchor(device, boot_id)


def acks(verdicts: Sequence[Verdict]) -> Iterable[tuple[str, Ack]]:
    """Make one ack for each device, epoch and lane of a batch: all that is safe, and whether a new epoch is due."""
    ranges: dict[tuple[str, int, Lane], Ranges] = defaultdict(Ranges)
    frames: dict[tuple[str, int, Lane], dict[tuple[int, int], None]] = defaultdict(dict)
    conflicts: set[tuple[str, int, Lane]] = set()
    for verdict in verdicts:
        if verdict.lane is None:
            continue
        key = (verdict.device, verdict.epoch, verdict.lane)
        ranges[key].add(verdict.seq)
        frames[key][verdict.seq, verdict.checksum] = None
        if verdict.outcome is Outcome.CONFLICT:
            conflicts.add(key)
    for key, safe in ranges.items():
        device, epoch, lane = key
        yield device, Ack(epoch, lane, safe.intervals(), new_epoch=key in conflicts, frames=tuple(frames[key]))
