"""What all runners share: the arrays that they give, the error that they raise, and how a program's end is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from sprat.compiler.workers.processes import ending
from sprat.errors import SpratError

__all__ = ["Arrays", "RunnerFailed", "ending", "last_line"]

Arrays = Mapping[str, npt.NDArray[Any]]


class RunnerFailed(SpratError):
    """The device's program refused or failed; the message is its own."""

    exit_code = 1


def last_line(text: str) -> str:
    """Return the last line that says something, without the program's name before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sprat-device: ")[:300] if lines else ""
