"""How the device's command lines are read: wrong use is one line with its remedy, and exit code 2.

Help ends with an example on a line of its own, which no terminal's width breaks: people copy it.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from pathlib import Path
from typing import Final, NoReturn

from sprat_device.contract.errors import did_you_mean

_WIDTH: Final = 78
_VALUE: Final = re.compile(r"argument (?P<what>.+): invalid (?P<kind>int|float) value: '(?P<found>.*)'", re.DOTALL)
_KINDS: Final = {"int": "a whole number", "float": "a number"}
_CHOICE: Final = re.compile(r"argument (?P<what>\S+): invalid choice: '(?P<found>.*)' \(choose from (?P<known>.*)\)")


class CommandLine(argparse.ArgumentParser):
    """A parser whose errors are one line; its sub-parsers are of this class too."""

    example = ""
    """Shown at the end of the help."""
    notes = ""
    """Shown below the options."""

    def format_help(self) -> str:
        """Return the help, with notes and example."""
        notes = f"\n{textwrap.fill(self.notes, _WIDTH)}\n" if self.notes else ""
        return f"{super().format_help()}{notes}" + (f"\nExample: {self.example}\n" if self.example else "")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to read what is right; exit code 2."""
        self.exit(2, f"{self.prog}: {' '.join(_said(message).split())}; see {self.prog} --help\n")


def folder(text: str) -> Path:
    """Read the name of a folder, which need not be there yet."""
    if not text:
        raise argparse.ArgumentTypeError("found '', expected the name of a folder")
    if os.path.exists(text) and not os.path.isdir(text):  # noqa: PTH110, PTH112 - these never raise
        raise argparse.ArgumentTypeError(f"found {text[:200]!r}, which is a file; expected a folder")
    return Path(text)


def _said(message: str) -> str:
    """Return the standard library's sentence, or a better one where it lists choices or names a type."""
    if value := _VALUE.fullmatch(message):
        return f"argument {value['what']}: found {value['found'][:80]!r}, expected {_KINDS[value['kind']]}"
    found = _CHOICE.fullmatch(message)
    if found is None:
        return message
    known = [word for word in re.findall(r"'([^']*)'", found["known"]) if word]
    near = did_you_mean(found["found"], known)
    return f"{found['what'].lower()}: found {found['found'][:80]!r}, expected one of {', '.join(known)}{near}"
