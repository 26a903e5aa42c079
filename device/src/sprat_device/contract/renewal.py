"""How a device keeps its identity: a new certificate for the same key, asked for with the old one.

The old certificate may have ended within the grace, so that a device that lay in a drawer for a winter comes back by
itself; one that was revoked is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

REQUEST: Final = "sprat.renew-request/1"
ANSWER: Final = "sprat.renew-answer/1"

# Paths on the hub's device port, for who shows a certificate.
RENEW_PATH: Final = "/v1/renew"
DESIRED_PATH: Final = "/v1/desired"
"""The desired twin as the broker retains it, for a device whose way to the broker is blocked."""

DUE_SHARE: Final = (2, 3)
"""A device asks once this share of a certificate's life is over."""
GRACE_S: Final = 365 * 86_400
"""So long after its end a certificate is still good for being renewed, and for nothing else."""


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """What a device sends: a signing request in PEM, of the key that its certificate names."""

    csr: str

    def dump(self) -> bytes:
        """Encode for the wire."""
        return json.dumps({"schema": REQUEST, **asdict(self)}).encode()


def parse_request(raw: object) -> RenewRequest:
    """Read a request, or raise ContractError."""
    fields = Fields(raw, "renew request")
    fields.schema(REQUEST)
    return RenewRequest(csr=fields.text("csr", max_length=8192))


@dataclass(frozen=True, slots=True)
class RenewAnswer:
    """What the hub answers: the certificate in PEM."""

    certificate: str

    def dump(self) -> bytes:
        """Encode for the wire."""
        return json.dumps({"schema": ANSWER, **asdict(self)}).encode()


def parse_answer(raw: bytes) -> RenewAnswer:
    """Read an answer, or raise ContractError."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"renew answer: not JSON ({exc})") from exc
    fields = Fields(document, "renew answer")
    fields.schema(ANSWER)
    return RenewAnswer(certificate=fields.text("certificate", max_length=16384))


def due(begins_us: int, ends_us: int, now_us: int) -> bool:
    """Tell whether a certificate of that life is to be renewed."""
    share, of = DUE_SHARE
    return (now_us - begins_us) * of >= (ends_us - begins_us) * share
