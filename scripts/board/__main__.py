"""Boots a virtual board with a real systemd, sets the agent up on it, and prints what it did, beside what it should have."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import clocks
import cuts
import image
import joins
import sandbox
import upkeep
import watched
from board import Board
from qemu import Guest, accelerated
from scripts.arm.rows import Table
from world import FIRST, ROOT, SECOND, World, world

from sprat.errors import SpratError

PARTS: Final = ("sandbox", "watch", "clock", "cuts", "root", "upkeep")
_NAME: Final = "board"


def main(argv: Sequence[str] | None = None) -> int:
    """Set the board up, run the parts that were asked for; 1 where a row is not as expected."""
    asked = _parser().parse_args(argv)
    table = Table()
    begun = time.monotonic()
    # An end from outside leaves no machine, hub or folder behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="sprat-board-") as folder:
        try:
            _say("a Debian with kernel and systemd in an image")
            made = image.make(ROOT / ".virtual-board")
            _say("a hub on this host, a wheelhouse and two bundles")
            with world(Path(folder), table) as around:
                _live(made, around, asked, table)
        except SpratError as exc:
            table.show("host", "test-board", f"{type(exc).__name__}: {exc}", expected="runs to its end", ok=False)
    print(table.text())
    taken = time.monotonic() - begun
    print(f"test-board: {len(table.rows)} results, {len(table.failed)} not as expected, {taken:.0f} s")
    return 1 if table.failed else 0


def _live(made: image.Image, around: World, asked: argparse.Namespace, table: Table) -> None:
    """Let one board live through it; every part begins with an agent that predicts."""
    parts = asked.parts or PARTS
    guest = Guest(made, around.work, around.ports)
    board = Board(_NAME, guest, around, table)
    sandbox.second_disk(board)
    try:
        how = "kvm" if accelerated(made) else "emulated"
        board.show("boots to a login", f"{guest.boot():.0f} s, {how}", expected="a login", ok=True)
        board.show("system", guest.must("uname -r; systemctl --version | head -1").replace("\n", ", "), expected="Debian 12", ok=True)  # fmt: skip
        before = upkeep.list_files(board)
        _say("join")
        joins.run(board)
        steps = {
            "sandbox": lambda: sandbox.run(board),
            "watch": lambda: watched.run(board),
            "clock": lambda: clocks.run(board, (SECOND, FIRST)),
            "cuts": lambda: cuts.run(board, asked.cuts, random.Random(asked.seed), (SECOND, FIRST)),  # noqa: S311
            "root": lambda: sandbox.read_only_root(board),
            "upkeep": lambda: upkeep.run(board, before),
        }
        for name in PARTS:
            if name in parts:
                _say(name)
                steps[name]()
    except SpratError:
        if guest.process is not None:
            table.tell(board.journal())
        raise
    finally:
        guest.cut_power()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/test-board", description=__doc__, epilog="Example: scripts/test-board --part cuts --cuts 5"
    )
    parser.add_argument("--part", dest="parts", action="append", choices=PARTS, help="only this part; repeat it")
    parser.add_argument("--cuts", type=int, default=20, help="how many power cuts (20)")
    parser.add_argument("--seed", type=int, default=1, help="of their moments (1)")
    return parser


def _say(line: str) -> None:
    print(f"== {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
