"""What a manifest says of the golden set: how much of it there is, and how near an answer must come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import Digest, digest


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a golden output may be off: `lsb` counts quantization steps, `absolute` is in the output's own unit."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden set: its size and, for each runtime, the version that gave the outputs and how far they may be off."""

    count: int
    sha256: Digest
    tolerances: Mapping[str, Tolerance]
    versions: Mapping[str, str]
    sequence_rows: int = 0
    """Rows of one sequence of a stream: the state is reset before each; 0 where rows do not depend on each other."""
    embedding_tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """Of the embedding, for each runtime, where an output is one: its numbers have a size of their own."""


def parse_golden(raw: object) -> Golden:
    """Read what is said of a golden set, or raise ContractError."""
    fields = Fields(raw, "golden")
    return Golden(
        count=fields.integer("count", minimum=1, maximum=100_000),
        sha256=fields.value("sha256", digest),
        tolerances=fields.mapping("tolerances", _tolerance),
        versions=fields.mapping("versions", text),
        sequence_rows=fields.integer("sequence_rows", default=0, maximum=100_000),
        embedding_tolerances=fields.mapping("embedding_tolerances", _tolerance, default={}),
    )


def _tolerance(raw: object, where: str) -> Tolerance:
    fields = Fields(raw, where)
    tolerance = Tolerance(kind=fields.text("kind", max_length=16), value=fields.number("value"))
    if tolerance.kind not in {"lsb", "absolute"} or tolerance.value < 0:
        raise ContractError(f"{where}: expected kind lsb or absolute and a value >= 0")
    return tolerance
