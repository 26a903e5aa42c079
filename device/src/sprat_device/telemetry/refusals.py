"""What a broker's no means: the TLS alerts and reasons that an operator can do something about, with what to do.

With TLS 1.3 a server judges the client's certificate after the client has finished its handshake, so the alert comes as an
error of the first read; the MQTT client tells it to its logger alone, and calls the loss "Unspecified error".
"""

from __future__ import annotations

import logging
from typing import Final

_ENROL: Final = "sprat-device enrol, with a token of `sprat enrol token`"
_MEANINGS: Final = (
    ("CERTIFICATE_REVOKED", f"the hub has revoked this device's certificate; enrol it again: {_ENROL}"),
    ("CERTIFICATE_EXPIRED", f"the broker takes this device's certificate for expired; look at both clocks, or enrol it again: {_ENROL}"),
    ("ALERT_UNKNOWN_CA", f"the broker does not know who signed this device's certificate; is this its hub? else enrol it again: {_ENROL}"),
    ("CERTIFICATE_REQUIRED", f"the broker has seen no certificate of this device; enrol it again: {_ENROL}"),
)  # fmt: skip


def meaning(error: str) -> str:
    """Return what an error means and its remedy, or the error itself where nothing better is known."""
    return next((meant for mark, meant in _MEANINGS if mark in error), error)


class LastError(logging.Handler):
    """Keeps the last error that the MQTT client has logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._text = ""
        # Of its own, so that the client's words reach nobody else, and those below an error cost nothing.
        self.logger = logging.Logger("sprat.mqtt", logging.ERROR)  # noqa: LOG001 - it has no name to others
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._text = record.getMessage()

    def forget(self) -> None:
        """Begin anew."""
        self._text = ""

    def why(self, otherwise: str) -> str:
        """Return what the last error means, `otherwise` where there was none."""
        return meaning(self._text) if self._text else otherwise
