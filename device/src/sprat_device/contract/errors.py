"""Errors by remedy, shared by both distributions; a message says what, found, expected and remedy in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from sprat_device.contract.phases import Reason


class SpratError(Exception):
    """An error with one line for its reader; `exit_code` is what a command ends with."""

    exit_code: ClassVar[int] = 70


class WrongUse(SpratError):
    """The caller's input cannot mean anything: the caller mends it."""

    exit_code = 2


class ContractError(WrongUse):
    """A document, frame or name that the contract does not allow."""


class BundleRefused(SpratError):
    """A bundle or release that must not run here; trying again changes nothing."""

    exit_code = 1

    def __init__(self, reason: Reason, message: str) -> None:
        """Keep the closed reason code beside the sentence for people."""
        super().__init__(message)
        self.reason = reason

    def __str__(self) -> str:
        """Show the reason code and the sentence."""
        return f"{self.reason}: {self.args[0]}"


class HubUnreachable(SpratError):
    """The other side does not answer: try again later."""

    exit_code = 3


class MachineLacks(SpratError):
    """The machine lacks a program, a package, space or a right; the message says how to get it."""

    exit_code = 4


class AgentFault(SpratError):
    """A defect of Sprat itself, told as one line; the traceback is in the log."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known word, empty where none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake pays for it

    near = get_close_matches(found, list(known), n=1, cutoff=0.5)
    return f"; did you mean {str(near[0])!r}?" if near else ""
