"""Errors of the host, by remedy; the families that both sides share live in the contract."""

from __future__ import annotations

import errno
from typing import Final

from sprat_device.contract.errors import (
    BundleRefused,
    ContractError,
    HubUnreachable,
    MachineLacks,
    SpratError,
    WrongUse,
)

__all__ = [
    "NO_SPACE",
    "BundleRefused",
    "ContractError",
    "GateFailed",
    "HubUnreachable",
    "MachineLacks",
    "RecipeError",
    "Refused",
    "SpratError",
    "WrongUse",
]

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of an OSError that mean: the disk is full. It names no file where a write, not an open, was refused."""


class RecipeError(WrongUse):
    """The recipe or its data cannot be built from: its author mends it."""


class GateFailed(SpratError):
    """A gate stopped the work; choose again. `code` is the gate's closed reason code."""

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        """Keep the reason code beside the sentence for people."""
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        """Show the reason code and the sentence."""
        return f"{self.code}: {self.args[0]}"


class Refused(GateFailed):
    """A rule of the hub or of signing forbids it (a right, a number that is taken, a phase that does not allow it)."""
