"""What a rollout is: its spec as people write it, and its state as the hub keeps it; plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import Channel, ModelName, channel, device_id, model_name
from sprat_device.contract.phases import RolloutPhase


class OnFailure(StrEnum):
    """What a crossed threshold leads to; abort also takes back the offers of devices that are not done."""

    PAUSE = "pause"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Cohort:
    """The devices that a rollout addresses: named ones, or those that have all the labels, or all of the channel."""

    devices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Wave:
    """One stage: exactly one of a cumulative percentage of the cohort, a count of further devices, or named ones."""

    percent: float = 0.0
    count: int = 0
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gates:
    """Thresholds of every wave; `max_p95_ratio` compares latency with the bundles that ran before, 0 leaves it out."""

    healthy_predictions: int = 50
    max_failed_share: float = 0.0
    max_error_share: float = 0.05
    max_p95_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Spec:
    """A rollout as it was asked for."""

    model: ModelName
    release_seq: int
    channel: Channel
    cohort: Cohort
    waves: tuple[Wave, ...] = (Wave(percent=100.0),)
    gates: Gates = Gates()
    deadline_s: int = 24 * 3600
    on_failure: OnFailure = OnFailure.PAUSE
    urgent: bool = False
    """The hub's maintenance windows do not hold its offers up; the devices' own still do."""

    def dump(self) -> dict[str, Any]:
        """Return it as it is written."""
        plain = asdict(self)
        cohort, waves = self.cohort, self.waves
        plain["cohort"] = (
            {"all": True} if cohort.everyone
            else {"labels": dict(cohort.labels)} if cohort.labels
            else {"devices": list(cohort.devices)}
        )  # fmt: skip
        plain["waves"] = [{name: value for name, value in asdict(wave).items() if value} for wave in waves]
        return plain


class MemberStatus(StrEnum):
    """Where one device stands in a rollout."""

    PENDING = "pending"
    """Its wave has not begun."""
    WAITING = "waiting"
    """Offered, but not seen since: it joins when it returns."""
    OFFERED = "offered"
    """Seen since the offer, not done yet."""
    DONE = "done"
    """Reports the running digest, and enough healthy predictions of it are stored here."""
    FAILED = "failed"
    UNFIT = "unfit"
    SUPERSEDED = "superseded"
    """A newer rollout of the model has it."""
    LEFT = "left"
    """No longer in the cohort or the fleet."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a rollout; `accepted` failures were taken note of by whoever resumed and stop nothing any more."""

    device: str
    wave: int
    status: MemberStatus = MemberStatus.PENDING
    since_us: int = 0
    target: str = ""
    bundle: str = ""
    reason: str = ""
    detail: str = ""
    accepted: bool = False
    offered_us: int = 0
    """When this rollout first offered its bundle; 0 before that."""
    before: int = 0
    """Predictions of that very bundle by this device that were stored by then."""


@dataclass(frozen=True, slots=True)
class GateValue:
    """What a gate measured; None while there is nothing to measure, which passes nothing and stops nothing."""

    name: str
    value: float | None
    threshold: float

    @property
    def crossed(self) -> bool:
        """Tell whether the threshold is crossed."""
        return self.value is not None and self.value > self.threshold


@dataclass(frozen=True, slots=True)
class Rollout:
    """The state of one rollout; times in microseconds."""

    id: str
    spec: Spec
    created_us: int
    by: str = ""
    phase: RolloutPhase = RolloutPhase.DRAFT
    wave: int = 0
    wave_began_us: int = 0
    started_us: int = 0
    changed_us: int = 0
    reason: str = ""
    members: Mapping[str, Member] = field(default_factory=dict)
    gates: tuple[GateValue, ...] = ()
    accepted_gates: tuple[str, ...] = ()

    def in_waves_so_far(self) -> tuple[Member, ...]:
        """Return the members whose wave has begun."""
        return tuple(member for member in self.members.values() if member.wave <= self.wave)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What happened to a rollout, and by whom (`hub` for the engine itself)."""

    at_us: int
    who: str
    code: str
    detail: str


def parse_spec(raw: object) -> Spec:
    """Read a spec, or raise ContractError; an unknown key is an error, for it would be ignored in silence."""
    fields = Fields(raw, "rollout")
    spec = Spec(
        model=fields.value("model", model_name),
        release_seq=fields.integer("release_seq", minimum=1),
        channel=fields.value("channel", channel),
        cohort=fields.value("cohort", _cohort),
        waves=fields.items("waves", _wave, default=(Wave(percent=100.0),)),
        gates=fields.value("gates", _gates, default=Gates()),
        deadline_s=fields.integer("deadline_s", minimum=1, maximum=366 * 86400, default=24 * 3600),
        on_failure=fields.value("on_failure", lambda value: OnFailure(str(value)), default=OnFailure.PAUSE),
        urgent=fields.boolean("urgent", default=False),
    )
    _nothing_else(fields, "rollout")
    shares = [wave.percent for wave in spec.waves if wave.percent]
    if not spec.waves or shares != sorted(shares):
        raise ContractError("rollout.waves: expected at least one, percentages cumulative and rising, as 10, 50, 100")
    return spec


def _cohort(raw: object) -> Cohort:
    fields = Fields(raw, "cohort")
    cohort = Cohort(
        devices=fields.items("devices", lambda value, _where: device_id(value), default=()),
        labels=fields.mapping("labels", text, default={}),
        everyone=fields.boolean("all", default=False),
    )
    _nothing_else(fields, "cohort")
    if [bool(cohort.devices), bool(cohort.labels), cohort.everyone].count(True) != 1:
        raise ContractError("cohort: expected exactly one of devices, labels, all")
    return cohort


def _wave(raw: object, where: str) -> Wave:
    fields = Fields(raw, where)
    wave = Wave(
        percent=fields.number("percent", default=0.0),
        count=fields.integer("count", default=0),
        devices=fields.items("devices", lambda value, _where: device_id(value), default=()),
    )
    _nothing_else(fields, where)
    if [wave.percent > 0, wave.count > 0, bool(wave.devices)].count(True) != 1 or not 0 <= wave.percent <= 100:
        raise ContractError(f"{where}: expected exactly one of percent (above 0, to 100), count, devices")
    return wave


def _gates(raw: object) -> Gates:
    fields, usual = Fields(raw, "gates"), Gates()
    gates = Gates(
        healthy_predictions=fields.integer("healthy_predictions", minimum=1, default=usual.healthy_predictions),
        max_failed_share=_share(fields, "max_failed_share", usual.max_failed_share),
        max_error_share=_share(fields, "max_error_share", usual.max_error_share),
        max_p95_ratio=fields.number("max_p95_ratio", default=usual.max_p95_ratio),
    )
    _nothing_else(fields, "gates")
    if gates.max_p95_ratio < 0:
        raise ContractError("gates.max_p95_ratio: expected a ratio above 0, or 0 to leave it out")
    return gates


def _share(fields: Fields, key: str, default: float) -> float:
    share = fields.number(key, default=default)
    if not 0 <= share <= 1:
        raise ContractError(f"gates.{key}: found {share}, expected a share from 0 to 1")
    return share


def _nothing_else(fields: Fields, where: str) -> None:
    if unknown := fields.rest():
        raise ContractError(f"{where}: unknown key {min(unknown)!r}; see `sprat rollout start --help`")
