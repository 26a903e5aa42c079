"""TLS to the hub that does not believe the wall clock: a board without a battery thinks that it is 1970, or 2040.

OpenSSL is told not to check times (`X509_V_FLAG_NO_CHECK_TIME`); when a handshake has ended, the certificate's end is
compared with trusted time instead, before a byte of ours goes out. Trusted time is a lower bound, so a beginning cannot
be judged: a hub that has just renewed its certificate must not lock out a board whose time stands still.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from sprat_device.contract.errors import MachineLacks

NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""

Now = Callable[[], int]
"""Returns trusted time: microseconds since 1970 that have passed for certain."""


def context(*, ca: Path, certificate: Path, key: Path, trusted_us: Now) -> ssl.SSLContext:
    """Trust the hub's CA alone, show our certificate, and judge what has ended by trusted time."""
    try:
        made = _TimedContext(trusted_us)
        made.load_verify_locations(cafile=str(ca))
        made.load_cert_chain(str(certificate), str(key))
    except (OSError, ssl.SSLError) as exc:
        if exc.errno == errno.ENOMEM:
            raise MemoryError from exc
        raise MachineLacks(f"identity in {ca.parent}: cannot be loaded ({exc}); enrol this device again") from exc
    return made


class _TimedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
            context = self.context
            if isinstance(context, _TimedContext):
                context.require_current(self.getpeercert())
        except ValueError as exc:  # closed meanwhile, or a time that cannot be read
            self.close()
            raise ssl.SSLError(f"handshake: {exc}") from exc
        except OSError:
            self.close()  # who asked for the handshake does not always close it
            raise


class _TimedContext(ssl.SSLContext):
    """A client's context; its classes are made once, for only the garbage collector takes away a class again."""

    sslsocket_class = _TimedSocket

    def __new__(cls, _trusted_us: Now) -> Self:
        # This protocol asks for a certificate, and for the host's name in it.
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, trusted_us: Now) -> None:
        self._trusted_us = trusted_us
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self.verify_flags |= NO_CHECK_TIME

    def require_current(self, certificate: Mapping[str, Any] | None) -> None:
        """Raise SSLError for a hub's certificate, or an authority that we trust, that has ended."""
        now_us = self._trusted_us()
        _require_current("the hub's certificate", certificate, now_us)
        for authority in self.get_ca_certs():
            _require_current("the hub's CA", authority, now_us)


def ends_us(certificate: Mapping[str, Any]) -> int:
    """Return when a certificate, as the ssl module describes it, ends; microseconds since 1970."""
    return int(ssl.cert_time_to_seconds(str(certificate["notAfter"]))) * 1_000_000


def _require_current(whose: str, certificate: Mapping[str, Any] | None, now_us: int) -> None:
    if not certificate:
        raise ssl.SSLError(f"{whose} is missing")
    if ends_us(certificate) <= now_us:
        raise ssl.SSLError(f"{whose} ended on {certificate['notAfter']}; renew it at the hub")
