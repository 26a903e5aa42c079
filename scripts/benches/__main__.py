"""Runs benches by name and prints one table; every row stands beside a reference that the same run measured."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rows import Row

NAMES = ("footprint", "compiler", "device", "soak")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benches; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="under two minutes a name, for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file")
    asked = parser.parse_args(argv)
    unknown = set(asked.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown bench {min(unknown)!r}; known: {', '.join(NAMES)}")
    rows: list[Row] = []
    for name in asked.names or NAMES:
        print(f"== {name}", file=sys.stderr)
        rows += importlib.import_module(name).measure(quick=asked.quick)
    for row in rows:
        print(row.line())
    if asked.json:
        asked.json.write_text(json.dumps([row.document() for row in rows], indent=1) + "\n")
    missed = [row for row in rows if row.met is False]
    print(f"bench: {len(rows)} figures, {len(missed)} goals missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
