"""How a device gets its identity: the one-time token, the request and the answer, and where a device finds the hub.

The token carries the SHA-256 of the hub's CA certificate (DER) and of the signing root (its bytes), so nothing is
trusted blindly: the device fetches both without trust, compares, and only then sends its request over verified TLS.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName, channel, device_id, digest, model_name

_TOKEN_PREFIX: Final = "sprat1."  # noqa: S105 - a format's name, not a secret
REQUEST: Final = "sprat.enrol-request/1"
ANSWER: Final = "sprat.enrol-answer/1"

# Paths on the hub's device port.
CA_PATH: Final = "/v1/ca.pem"
ROOT_PATH: Final = "/v1/root.json"
ENROL_PATH: Final = "/v1/enrol"
METADATA_PATH: Final = "/v1/metadata/"
TARGETS_PATH: Final = "/v1/targets/"


@dataclass(frozen=True, slots=True)
class EnrolToken:
    """A one-time, short-lived right to join the fleet."""

    secret: str
    ca_sha256: Digest
    root_sha256: Digest

    def dump(self) -> str:
        """Return the token as people copy it."""
        plain = json.dumps([self.secret, self.ca_sha256, self.root_sha256], separators=(",", ":"))
        return _TOKEN_PREFIX + base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def parse_token(raw: str) -> EnrolToken:
    """Read a token, or raise ContractError (which never shows it)."""
    body = raw.strip()
    if not body.startswith(_TOKEN_PREFIX) or len(body) > 1024:
        raise ContractError(f"enrolment token: expected it to begin with {_TOKEN_PREFIX!r}; copy it whole")
    body = body.removeprefix(_TOKEN_PREFIX)
    try:
        secret, ca, root = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return EnrolToken(text(secret, "enrolment token"), digest(ca), digest(root))
    except (binascii.Error, ValueError, TypeError) as exc:
        raise ContractError("enrolment token: damaged; copy it whole") from exc


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """What a device sends: the token's secret, the name it asks for (empty: the hub chooses) and its CSR in PEM."""

    secret: str
    device: str
    csr: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Encode for the wire."""
        return json.dumps({"schema": REQUEST, **asdict(self)}).encode()


def parse_request(raw: object) -> EnrolRequest:
    """Read a request, or raise ContractError."""
    fields = Fields(raw, "enrol request")
    fields.schema(REQUEST)
    wanted = fields.text("device", default="", max_length=63)
    return EnrolRequest(
        secret=fields.text("secret", max_length=256),
        device=device_id(wanted) if wanted else "",
        csr=fields.text("csr", max_length=8192),
        facts=fields.mapping("facts", lambda value, _where: value, default={}),
    )


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """What a device pins: its certificate and id, where the broker is, its channel and its models."""

    device: DeviceId
    certificate: str
    mqtt_host: str
    mqtt_port: int
    channel: Channel
    models: tuple[ModelName, ...]

    def dump(self) -> bytes:
        """Encode for the wire."""
        return json.dumps({"schema": ANSWER, **asdict(self)}).encode()


def parse_answer(raw: object) -> EnrolAnswer:
    """Read an answer, or raise ContractError."""
    fields = Fields(raw, "enrol answer")
    fields.schema(ANSWER)
    return EnrolAnswer(
        device=fields.value("device", device_id),
        certificate=fields.text("certificate", max_length=16384),
        mqtt_host=fields.text("mqtt_host", max_length=255),
        mqtt_port=fields.integer("mqtt_port", minimum=1, maximum=65535),
        channel=fields.value("channel", channel),
        models=fields.items("models", lambda value, _where: model_name(value)),
    )
