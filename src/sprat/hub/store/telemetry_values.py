"""What the telemetry store takes and gives: plain values, without SQL and without files.

Every lane tells of the same predictions in its own way (one by one, as summaries, errors as events), so counts of
different lanes are never added: per device and bundle the fullest lane is the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sprat_device.contract.frame import FrameHeader
from sprat_device.contract.phases import Lane
from sprat_device.contract.shadow import ShadowSummary
from sprat_device.contract.sketch import LogHistogram

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


class Timing(StrEnum):
    """Where the times of a frame come from."""

    SYNCHRONISED = "synchronised"
    """The device's own clock, which was synchronised."""
    BOOT = "boot"
    """Monotonic time, placed by a synchronised frame of the same boot."""
    ARRIVAL = "arrival"
    """Monotonic time, placed by the earliest arrival of a frame of that boot."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far wall time is ahead of monotonic time in one boot of a device, and how we know."""

    offset_us: int
    timing: Timing


@dataclass(slots=True)
class Rollup:
    """One minute of one bundle on one device, as one lane tells it; `minute_us` is the minute's begin."""

    bundle: str
    model: str
    minute_us: int
    lane: Lane
    release_seq: int = 0
    predictions: int = 0
    errors: int = 0
    classes: dict[int, int] = field(default_factory=dict)
    latency: LogHistogram = field(default_factory=LogHistogram)
    confidence: LogHistogram = field(default_factory=LogHistogram)

    def merge(self, other: Rollup) -> None:
        """Add another's counts of the same key."""
        self.release_seq = max(self.release_seq, other.release_seq)
        self.predictions += other.predictions
        self.errors += other.errors
        for label, times in other.classes.items():
            self.classes[label] = self.classes.get(label, 0) + times
        self.latency.merge(other.latency)
        self.confidence.merge(other.confidence)


@dataclass(frozen=True, slots=True)
class DriftCounts:
    """Counts over the baseline's edges of one feature in one hour (`hour_us` is its begin)."""

    bundle: str
    feature: str
    hour_us: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShadowHour:
    """What a shadow showed beside `bundle` in one hour (`hour_us` is its begin), on one device or over many."""

    bundle: str
    model: str
    hour_us: int
    told: ShadowSummary


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened on a device, or that the hub noticed about it; `at_us` is wall time."""

    at_us: int
    code: str
    detail: Mapping[str, object]
    model: str = ""
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class NewFrame:
    """A frame that was read whole, with all that its commit writes."""

    device: str
    header: FrameHeader
    raw: bytes
    received_us: int
    anchor: Anchor
    model: str = ""
    bundle: str = ""
    rollups: tuple[Rollup, ...] = ()
    drift: tuple[DriftCounts, ...] = ()
    events: tuple[NewEvent, ...] = ()
    health: tuple[NewEvent, ...] = ()
    shadows: tuple[ShadowHour, ...] = ()


@dataclass(frozen=True, slots=True)
class Spoiled:
    """Bytes that cannot be used; `header` is None where not even that can be trusted."""

    device: str
    raw: bytes
    received_us: int
    reason: str
    detail: str
    header: FrameHeader | None = None


class Outcome(StrEnum):
    """What became of one incoming frame."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """The same key with other bytes: kept in quarantine, the device shall begin a new epoch."""
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one frame after the commit; without a key there is nothing to ack."""

    device: str
    outcome: Outcome
    epoch: int = 0
    lane: Lane | None = None
    seq: int = 0
    checksum: int = 0
    """Of the frame that this is about: under one key two devices may have sent two."""


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One stored prediction; `frame` is the cursor to go on after."""

    frame: int
    device: str
    epoch: str
    seq: int
    model: str
    bundle: str
    release_seq: int
    index: int
    label: int
    confidence: float | None
    latency_us: int
    wall_us: int
    timing: Timing


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One lane in one epoch, in records: what the device says it produced, and where each of them is.

    `missing` is what the device still holds, or what was lost: zero after it has sent everything. `surplus` counts
    records that the device evicted although the hub had them (their ack never arrived). `conflicts` came under a key
    that was taken: they lie in quarantine, but whether this spool produced them nobody can say.
    """

    device: str
    epoch: str
    lane: Lane
    produced: int
    stored: int
    quarantined: int
    evicted: int
    damaged: int
    conflicts: int
    duplicates: int
    frames: int
    last_seq: int
    updated_us: int
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def missing(self) -> int:
        """Return how many produced records are neither here nor known to be gone."""
        return max(0, self.produced - self.stored - self.quarantined - self.evicted - self.damaged)

    @property
    def surplus(self) -> int:
        """Return how many records are accounted for twice."""
        return max(0, self.stored + self.quarantined + self.evicted + self.damaged - self.produced)

    @property
    def balanced(self) -> bool:
        """Tell whether every record that was produced is accounted for, and once."""
        return self.missing == 0 and self.surplus == 0


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event; `source` is `device` or `hub`; `id` is the cursor."""

    id: int
    device: str
    at_us: int
    source: str
    code: str
    model: str
    bundle: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one device did with one bundle so far, as the hub has it."""

    device: str
    bundle: str
    model: str
    release_seq: int
    predictions: int
    errors: int
    first_minute_us: int
    last_minute_us: int


@dataclass(frozen=True, slots=True)
class MinuteRow:
    """One minute of one bundle, over one or many devices."""

    minute_us: int
    bundle: str
    model: str
    predictions: int
    errors: int
    classes: Mapping[int, int]
    latency: LogHistogram
    confidence: LogHistogram


@dataclass(frozen=True, slots=True)
class DriftRow:
    """Counts of one feature in one hour, over one or many devices."""

    hour_us: int
    bundle: str
    feature: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One health sample of a device."""

    device: str
    at_us: int
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """Bytes that were put aside; `raw` only where it was asked for."""

    id: int
    device: str
    received_us: int
    reason: str
    detail: str
    epoch: str
    lane: str
    seq: int
    size: int
    times: int
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the whole store, for `/metrics`."""

    frames: int
    records: int
    bytes: int
    duplicates: int
    quarantined_frames: int
    events: int
