"""What was run where, what it gave, and what it should have given."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that ran on one machine."""

    machine: str
    what: str
    found: str
    expected: str
    ok: bool


@dataclass(slots=True)
class Table:
    """The rows so far; each is told on stderr as it comes."""

    rows: list[Row] = field(default_factory=list)

    def show(self, machine: str, what: str, found: object, *, expected: object, ok: bool | None = None) -> None:
        """Add a row; without `ok`, what was found must equal what is expected."""
        passed = found == expected if ok is None else ok
        row = Row(machine, what, str(found), str(expected), passed)
        self.rows.append(row)
        print(f"   {_line(row)}", file=sys.stderr)

    def tell(self, log: str, *, lines: int = 15) -> None:
        """Show the end of a log that explains the row to come."""
        print("\n".join(f"   | {line}" for line in log.strip().splitlines()[-lines:]), file=sys.stderr)

    def text(self) -> str:
        """Return the whole table, in columns."""
        rows = sorted(self.rows, key=lambda row: row.machine)  # they come from several threads
        cells = [("where", "what", "found", "expected", ""), *(_cells(row) for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)).rstrip()
            for line in cells
        )

    @property
    def failed(self) -> Sequence[Row]:
        """Return the rows that are not as expected."""
        return [row for row in self.rows if not row.ok]


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    return row.machine, row.what, row.found, row.expected, "ok" if row.ok else "FAILED"


def _line(row: Row) -> str:
    return f"{'ok' if row.ok else 'FAILED'}: {row.machine}: {row.what}: {row.found} (expected {row.expected})"
