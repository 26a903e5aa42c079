"""The detail of a capture (`Row.code == CODE`, lane captures): one reading kept for people to look at and label.

Arrays are `[dtype, shape, bytes]`, as in the columns of a frame; one record takes at most 1 MiB. `Wish` is what a hub
may ask for in the desired twin; a device listens to it only where its own settings allow that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.records import NO_LABEL

CODE: Final = "capture"
MAX_BYTES: Final = 1024 * 1024
"""Of one capture before compression."""
_DTYPE: Final = re.compile(r"[<|](?:b1|i[1248]|u[1248]|f[248]|U[1-9]\d{0,4})", re.ASCII)
_MAX_INPUTS: Final = 64
_MAX_LABELS: Final = 1000


class Rule(StrEnum):
    """Why a reading was kept."""

    RANDOM = "random"
    """A reference: drawn by lot, whatever it is."""
    LABEL = "label"
    """Somebody asked for readings with this answer."""
    UNUSUAL = "unusual"
    UNCERTAIN = "uncertain"
    SHADOW = "shadow"
    """The shadow gave another label."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One reading with its answer; `label` is a position or NO_LABEL, `outputs` the scores or values."""

    rule: Rule
    index: int
    release_seq: int
    label: int
    outputs: tuple[float, ...]
    inputs: Mapping[str, npt.NDArray[Any]]
    input: str = ""
    """Which of the model's inputs in the device's settings it came by."""
    why: str = ""
    """What about it: the feature that is unusual, for example."""
    shadow: str = ""
    """Digest of the bundle that disagreed."""
    shadow_label: int = NO_LABEL
    redacted: tuple[str, ...] = field(default=())
    """Names of the hooks that have changed the inputs."""

    def detail(self) -> dict[str, object]:
        """Return the plain mapping that stands in the record."""
        return {
            "rule": str(self.rule),
            "index": self.index,
            "release_seq": self.release_seq,
            "label": self.label,
            "outputs": list(self.outputs),
            "inputs": {name: _packed(array) for name, array in self.inputs.items()},
            "input": self.input,
            "why": self.why,
            "shadow": self.shadow,
            "shadow_label": self.shadow_label,
            "redacted": list(self.redacted),
        }


@dataclass(frozen=True, slots=True)
class Wish:
    """What a hub would like to be captured; None leaves the device's own setting."""

    labels: tuple[str, ...] | None = None
    uncertain_below: float | None = None
    random_rate: float | None = None
    daily_bytes: int | None = None


def parse(detail: object) -> Capture:
    """Read the detail of a capture, or raise ContractError."""
    fields = Fields(detail, "capture")
    inputs = fields.mapping("inputs", _array)
    if not 1 <= len(inputs) <= _MAX_INPUTS:
        raise ContractError(f"capture.inputs: {len(inputs)} arrays, expected 1 to {_MAX_INPUTS}")
    return Capture(
        rule=fields.choice("rule", Rule),
        index=fields.integer("index"),
        release_seq=fields.integer("release_seq"),
        label=fields.integer("label", minimum=NO_LABEL),
        outputs=fields.items("outputs", _output),
        inputs=inputs,
        input=fields.text("input", default="", max_length=32),
        why=fields.text("why", default="", max_length=256),
        shadow=fields.text("shadow", default="", max_length=64),
        shadow_label=fields.integer("shadow_label", minimum=NO_LABEL, default=NO_LABEL),
        redacted=fields.items("redacted", text, default=()),
    )


def parse_wish(raw: object) -> Wish:
    """Read what the desired twin asks for; null and nothing leave the device's own setting."""
    fields = Fields(raw, "capture")
    labels = None if fields.absent("labels") else fields.items("labels", text)
    if labels is not None and len(labels) > _MAX_LABELS:
        raise ContractError(f"capture.labels: {len(labels)} labels, at most {_MAX_LABELS} are allowed")
    return Wish(
        labels=labels,
        uncertain_below=None if fields.absent("uncertain_below") else _share(fields, "uncertain_below"),
        random_rate=None if fields.absent("random_rate") else _share(fields, "random_rate"),
        daily_bytes=None if fields.absent("daily_bytes") else fields.integer("daily_bytes"),
    )


def _share(fields: Fields, key: str) -> float:
    value = fields.number(key)
    if not 0 <= value <= 1:
        raise ContractError(f"capture.{key}: found {value:g}, expected a number from 0 to 1")
    return value


def _output(raw: object, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ContractError(f"{where}: found {type(raw).__name__}, expected a number")
    return float(raw)


def _packed(array: npt.NDArray[Any]) -> list[object]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return [little.dtype.str, list(little.shape), little.tobytes()]


def _array(raw: object, where: str) -> npt.NDArray[Any]:
    match raw:
        case [str(dtype), list() | tuple() as shape, bytes(data)] if _DTYPE.fullmatch(dtype) and len(shape) <= 8:
            found = np.dtype(dtype)
        case _:
            raise ContractError(f"{where}: expected [dtype, shape, bytes] of plain numbers or text")
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_BYTES for size in shape):
        raise ContractError(f"{where}: expected a shape of at most 8 small sizes")
    if math.prod(shape) * found.itemsize != len(data):
        raise ContractError(f"{where}: {len(data)} bytes do not fill {dtype} {list(shape)}")
    return np.frombuffer(data, found).reshape(shape)
