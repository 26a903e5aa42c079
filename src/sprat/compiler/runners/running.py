"""What all runners share: the arrays that they give, the error that they raise, and how a program's end is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sprat.compiler.workers.processes import ending
from sprat.data.table import read_table
from sprat.errors import SpratError

__all__ = ["Arrays", "RunnerFailed", "answers_in", "ending", "last_line", "runtimes_said"]

Arrays = Mapping[str, npt.NDArray[Any]]


class RunnerFailed(SpratError):
    """The device's program refused or failed; the message is its own."""

    exit_code = 1


def last_line(text: str) -> str:
    """Return the last line that says something, without the program's name before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sprat-device: ")[:300] if lines else ""


def runtimes_said(text: str | bytes, *, key: str = "") -> dict[str, str] | None:
    """Return the runtimes that a program told of as JSON, under a key or alone; None where it told of something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    found = found.get(key) if key and isinstance(found, dict) else found
    known = isinstance(found, dict) and all(isinstance(version, str) for version in found.values())
    return found if known else None


def answers_in(path: Path, *, runner: str) -> Arrays:
    """Read the arrays that a program wrote; RunnerFailed where it wrote something else, or nothing."""
    try:
        return read_table(path)
    except SpratError as exc:
        raise RunnerFailed(f"runner {runner}: no answers came back ({exc})") from exc
