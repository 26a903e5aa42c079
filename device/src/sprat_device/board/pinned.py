"""Speaking to a hub that is known by hashes alone, with the standard library alone.

CA and signing root are fetched without trust and compared with the hashes that the one-time token carries. Certificate
times are not looked at: the CA is pinned by its hash, and a fresh board's clock may stand years in the past.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sprat_device.board.tls import NO_CHECK_TIME
from sprat_device.contract import enrolment
from sprat_device.contract.errors import HubUnreachable, SpratError, WrongUse

_MAX_ANSWER: Final = 512 * 1024
_TIMEOUT_S: Final = 30
_NO_TLS: Final = "TLS is not spoken there: give the hub's device port (8443), not the console's"


class EnrolRefused(SpratError):
    """The hub, or what it showed, does not fit the token; another token is needed."""

    exit_code = 1


def require_https(hub_url: str) -> str:
    """Return the address without a slash at its end, or raise WrongUse."""
    url = hub_url.rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:  # a port that is none, brackets that do not close
        whole = False
    if not whole or not url.isprintable() or " " in url:
        raise WrongUse(f"hub address {hub_url[:200]!r}: expected https://HOST:PORT, the hub's device port")
    return url


def fetch(url: str, token: enrolment.EnrolToken) -> tuple[bytes, bytes]:
    """Return the hub's CA certificate (PEM) and signing root if they are those that the token names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is believed here but the token's hashes
    ca = request(context, "GET", url + enrolment.CA_PATH)
    root = request(context, "GET", url + enrolment.ROOT_PATH)
    try:
        der = ssl.PEM_cert_to_DER_cert(ca.decode("ascii"))
    except ValueError as exc:
        raise EnrolRefused(f"{url} shows no CA certificate ({exc}); is this the hub's device port?") from exc
    for what, data, expected in (("CA", der, token.ca_sha256), ("signing root", root, token.root_sha256)):
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise EnrolRefused(
                f"{url} shows a {what} with SHA-256 {found[:12]}…, the token names {expected[:12]}…; "
                "this is not the hub that made the token, or its keys changed: get a new token"
            )
    # Written anew from the bytes that were compared: what else stood in the answer must not become a CA.
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii"), root


def context(ca: bytes, *, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return TLS that believes this CA alone; `pair` is the device's certificate and key."""
    made = ssl.create_default_context(cadata=ca.decode("ascii"))
    made.verify_flags |= NO_CHECK_TIME
    if pair is not None:
        made.load_cert_chain(*pair)
    return made


def request(tls: ssl.SSLContext, method: str, url: str, body: bytes | None = None) -> bytes:
    """Return a short answer, or raise EnrolRefused (the hub said no) or HubUnreachable."""
    parts = urlsplit(url)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=tls, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_MAX_ANSWER + 1)
    except (HTTPException, OSError, UnicodeError) as exc:  # the last: a name that no host can have
        remedy = _NO_TLS if "WRONG_VERSION_NUMBER" in str(exc) else "is the hub running and the address right?"
        raise HubUnreachable(f"{url}: no answer ({_reason(exc)}); {remedy}") from exc
    finally:
        connection.close()
    if response.status in (200, 201) and len(data) <= _MAX_ANSWER:
        return data
    raise refusal(url, response.status, data)


def refusal(url: str, status: int, data: bytes) -> SpratError:
    """Return what an answer other than 200 means: the hub said no, or it cannot answer now."""
    if 400 <= status < 500:
        return EnrolRefused(f"{url} refused ({status}): {sentence(data)}")
    return HubUnreachable(f"{url} answered {status}: {sentence(data)}")


def _reason(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


def sentence(data: bytes) -> str:
    """Return the hub's own sentence from an error answer, else the answer's beginning."""
    try:
        said = str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = data.decode("utf-8", "replace")
    # Whoever answers may not be the hub yet: what is printed must be nothing but a sentence.
    return "".join(mark if mark.isprintable() else "?" for mark in " ".join(said.split())[:300])
