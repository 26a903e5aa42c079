"""One input or output of an artifact, as its manifest describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, integer, number, text

EMBEDDING: Final = "embedding"
"""The meaning of an output that is no answer, but the model's own view of the reading (embedding.py)."""
_DTYPES: Final = frozenset(
    {"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool", "string"}
)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of the artifact.

    `shape` includes the batch as its first entry: 1 (fixed) or -1 (any). `scale` is 0 for a tensor that is not
    quantized. `minimum` and `maximum` are the range seen in training, in the unit; equal means unknown.
    With `missing_allowed` a reading may hold NaN for a value that is missing: the model fills it itself.
    `categories` are the texts that each feature of a text input may have; empty: any.
    `codes` are the numbers that each feature of a table may have where it holds codes; an empty list: any number.
    `features` names the last axis of a tabular or windowed input; `minimums` and `maximums` are the range of each place
    of that axis seen in training, in its unit; equal means unknown, and so does a list left out.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 0.0
    features: tuple[str, ...] = ()
    meaning: str = ""
    """What an output is: `probabilities`, `decision`, `label`, `values`, `score`, or `embedding`, which is no answer."""
    threshold: float | None = None
    """Of a `score`: a reading above it has label 1 (unusual), one at or below it label 0; None: no label."""
    missing_allowed: bool = False
    categories: tuple[tuple[str, ...], ...] = ()
    codes: tuple[tuple[float, ...], ...] = ()
    minimums: tuple[float, ...] = ()
    maximums: tuple[float, ...] = ()


def parse_tensor(raw: object, where: str) -> TensorSpec:
    """Read one tensor, or raise ContractError."""
    fields = Fields(raw, where)
    spec = TensorSpec(
        name=fields.text("name", max_length=256),
        dtype=fields.text("dtype", max_length=16),
        shape=fields.items("shape", integer),
        scale=fields.number("scale", default=0.0),
        zero_point=fields.integer("zero_point", minimum=-(2**31), default=0),
        unit=fields.text("unit", default="", max_length=64),
        minimum=fields.number("minimum", default=0.0),
        maximum=fields.number("maximum", default=0.0),
        features=fields.items("features", text, default=()),
        missing_allowed=fields.boolean("missing_allowed", default=False),
        categories=fields.items("categories", _texts, default=()),
        codes=fields.items("codes", _numbers, default=()),
        minimums=fields.items("minimums", number, default=()),
        maximums=fields.items("maximums", number, default=()),
        meaning=fields.text("meaning", default="", max_length=64),
        threshold=None if fields.absent("threshold") else fields.number("threshold"),
    )
    if spec.dtype not in _DTYPES:
        raise ContractError(f"{where}.dtype: found {spec.dtype!r}, expected one of {', '.join(sorted(_DTYPES))}")
    if not spec.shape or spec.shape[0] not in (1, -1) or any(n < 1 for n in spec.shape[1:]):
        raise ContractError(
            f"{where}.shape: found {list(spec.shape)}, expected a batch of 1 or -1 and positive dimensions"
        )
    if spec.features and len(spec.features) != spec.shape[-1]:
        raise ContractError(f"{where}.features: {len(spec.features)} names for {spec.shape[-1]} columns")
    if spec.categories and (len(spec.categories) != spec.shape[-1] or spec.dtype != "string"):
        raise ContractError(
            f"{where}.categories: {len(spec.categories)} lists for {spec.shape[-1]} columns of {spec.dtype}"
        )
    if spec.codes and (len(spec.codes) != spec.shape[-1] or spec.dtype == "string"):
        raise ContractError(f"{where}.codes: {len(spec.codes)} lists for {spec.shape[-1]} columns of {spec.dtype}")
    _require_ranges(spec, where)
    return spec


def _require_ranges(spec: TensorSpec, where: str) -> None:
    if not spec.minimums and not spec.maximums:
        return
    found = (len(spec.minimums), len(spec.maximums))
    if found != (spec.shape[-1], spec.shape[-1]) or len(spec.shape) < 2 or spec.dtype in {"string", "bool"}:
        raise ContractError(
            f"{where}.minimums: {found[0]} of them and {found[1]} maximums for {spec.shape[-1]} columns of {spec.dtype}"
        )
    for place, (low, high) in enumerate(zip(spec.minimums, spec.maximums, strict=True)):
        if low > high:
            raise ContractError(f"{where}.minimums[{place}]: found {low:g}, expected at most the maximum, {high:g}")


def _numbers(raw: object, where: str) -> tuple[float, ...]:
    return Fields({where: raw}, "").items(where, number)


def _texts(raw: object, where: str) -> tuple[str, ...]:
    return Fields({where: raw}, "").items(where, text)
