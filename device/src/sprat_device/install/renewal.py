"""Renews the device's certificate before it ends: the same key, a new certificate, over TLS that shows the old one.

It is written in one rename over the old one, so a power cut leaves either; both name the same key. The clock that
decides is trusted time: a board that thinks it is 2040 must not ask every hour, nor one in 1970 never.
"""

from __future__ import annotations

from typing import Protocol

from sprat_device.board import certificates
from sprat_device.board.files import Files
from sprat_device.board.identity import Identity
from sprat_device.contract import renewal
from sprat_device.contract.errors import ContractError, HubUnreachable, MachineLacks


class Hub(Protocol):
    """What answers a short question."""

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the answer, or raise HubUnreachable or HubRefused."""


def renew(identity: Identity, hub: Hub, *, files: Files, now_us: int) -> int | None:
    """Return when the new certificate ends (us since 1970), None where the present one is good for long enough."""
    key = certificates.load_key(identity.key, files)
    try:
        present = certificates.life_of(files.read(identity.certificate))
    except ValueError as exc:
        raise MachineLacks(f"{identity.certificate} is damaged ({exc}); enrol this device again") from exc
    if not renewal.due(present.begins_us, present.ends_us, now_us):
        return None
    request = renewal.RenewRequest(certificates.signing_request(key, identity.device))
    answer = _read(hub.ask("POST", renewal.RENEW_PATH, request.dump()))
    pem = answer.certificate.encode()
    try:
        life = certificates.life_of_ours(pem, device=identity.device, key=key)
    except ValueError as exc:
        raise HubUnreachable(f"renewal: the hub sent a certificate that is not this device's ({exc})") from exc
    if life.ends_us <= present.ends_us:
        return None  # by the hub's clock it is too early
    files.write_atomic(identity.certificate, pem)
    return life.ends_us


def _read(raw: bytes) -> renewal.RenewAnswer:
    try:
        return renewal.parse_answer(raw)
    except ContractError as exc:
        raise HubUnreachable(f"{exc}; do both sides have the same version?") from exc
