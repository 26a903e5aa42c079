"""Refusals that only the hub knows; `api/errors.py` gives each family its HTTP status."""

from __future__ import annotations

from sprat.errors import Refused, WrongUse


class NotFound(WrongUse):
    """What was asked for does not exist."""


class NotLoggedIn(Refused):
    """Nobody is known to be asking: log in, or send a token."""


class NotAllowed(Refused):
    """Who asks is known and may not."""


class TooManyTries(Refused):
    """Wait before trying again."""
