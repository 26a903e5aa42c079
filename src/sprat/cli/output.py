"""What a command says: people read stderr or stdout, a program reads one JSON document on stdout.

With `--json` everything but that document goes to stderr. Progress shows on a terminal only; `--quiet` and `NO_COLOR`
are honoured.
"""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, TextIO

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the result and errors.")]


def noun(help_: str | None = None) -> typer.Typer:
    """Return the app of one noun: plain text, no colours that a pipe would have to strip."""
    return typer.Typer(
        help=help_, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


@dataclass(frozen=True, slots=True)
class Output:
    """How one command talks."""

    json: bool = False
    quiet: bool = False

    @property
    def stream(self) -> TextIO:
        """Return where sentences for people go."""
        return sys.stderr if self.json else sys.stdout

    def say(self, message: str) -> None:
        """Print one sentence for people, unless quiet."""
        if not self.quiet:
            print(message, file=self.stream, flush=True)

    def warn(self, message: str) -> None:
        """Print one warning on stderr, quiet or not."""
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def emit_json(self, document: object) -> None:
        """Print the one JSON document of a command that was asked for it."""
        print(json_.dumps(document, indent=1, sort_keys=True, default=str), flush=True)

    def result(self, document: object, *lines: str) -> None:
        """Print the result: the document with `--json`, else the lines (these also with `--quiet`)."""
        if self.json:
            self.emit_json(document)
        else:
            for line in lines:
                print(line, flush=True)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print aligned columns for people; numbers are set to the right."""
        if self.json:
            return
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
        for row in [list(headers), *cells]:
            print("  ".join(_aligned(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner with the last step on a terminal, plain lines elsewhere; yields the reporter of steps."""
        if self.quiet or self.json or not sys.stderr.isatty():
            yield lambda step: self.say(f"{title}: {step}")
            return
        from rich.console import Console

        console = Console(stderr=True)
        with console.status(title) as status:
            yield lambda step: status.update(f"{title}: {step}")


def _aligned(cell: str, width: int) -> str:
    number = cell.replace(".", "", 1).replace(",", "").lstrip("-").rstrip("%").isdigit()
    return cell.rjust(width) if number else cell.ljust(width)
