"""Device state as the device tells it, `sprat.reported/1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sprat_device.contract import last_errors
from sprat_device.contract.fields import Fields, anything, text
from sprat_device.contract.last_errors import LastError
from sprat_device.contract.twin import document
from sprat_device.contract.twin.models import ModelReport, parse_model

SCHEMA: Final = "sprat.reported/1"


@dataclass(frozen=True, slots=True)
class LaneReport:
    """The ledger of one lane, in records: produced = acked + spooled + open + evicted + damaged."""

    epoch: str
    produced: int
    acked: int
    spooled: int
    open: int
    evicted: int
    damaged: int

    def balanced(self) -> bool:
        """Tell whether every record that was produced is accounted for."""
        return self.produced == self.acked + self.spooled + self.open + self.evicted + self.damaged


@dataclass(frozen=True, slots=True)
class Reported:
    """Device state as the device tells it; `applied_*` say which desired state it holds."""

    version: int
    applied_incarnation: str = ""
    applied_version: int = 0
    agent: str = ""
    boot_id: str = ""
    clock: str = ""
    channel: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, ModelReport] = field(default_factory=dict)
    ledger: Mapping[str, LaneReport] = field(default_factory=dict)
    errors: tuple[LastError, ...] = ()
    """What went wrong lately, the newest first."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Part of the desired state that this device does not follow (`inputs`, `capture`, …) -> why, and the remedy."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Encode for the wire."""
        return document.dump(SCHEMA, asdict(self))


def parse_reported(raw: bytes) -> Reported:
    """Read a reported document, or raise ContractError."""
    fields = document.parse(raw, "reported", SCHEMA)
    return Reported(
        version=fields.integer("version"),
        applied_incarnation=fields.text("applied_incarnation", default="", max_length=64),
        applied_version=fields.integer("applied_version", default=0),
        agent=fields.text("agent", default="", max_length=64),
        boot_id=fields.text("boot_id", default="", max_length=64),
        clock=fields.text("clock", default="", max_length=32),
        channel=fields.text("channel", default="", max_length=63),
        facts=fields.mapping("facts", anything, default={}),
        models=fields.mapping("models", parse_model, default={}),
        ledger=fields.mapping("ledger", _lane_report, default={}),
        errors=last_errors.parse_all(fields, "errors"),
        refused=fields.mapping("refused", text, default={}),
        extra=fields.rest(),
    )


def _lane_report(raw: object, where: str) -> LaneReport:
    fields = Fields(raw, where)
    names = ("produced", "acked", "spooled", "open", "evicted", "damaged")
    return LaneReport(fields.text("epoch", max_length=16), *(fields.integer(name) for name in names))
