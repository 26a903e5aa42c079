"""What the documents of a twin have in common: JSON of a bounded size, with its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

MAX_SIZE: Final = 256 * 1024


def dump(schema: str, plain: Mapping[str, Any]) -> bytes:
    """Encode for the wire; what a later version said (`extra`) stands beside what this one knows."""
    known = {name: value for name, value in plain.items() if name != "extra"}
    document = {**plain.get("extra", {}), "schema": schema, **known}
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def parse(raw: bytes, what: str, schema: str) -> Fields:
    """Return the fields of a document, or raise ContractError."""
    if len(raw) > MAX_SIZE:
        raise ContractError(f"{what} of {len(raw)} bytes, at most {MAX_SIZE} are allowed")
    try:
        fields = Fields(json.loads(raw), what)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"{what}: not JSON ({exc})") from exc
    fields.schema(schema)
    return fields
