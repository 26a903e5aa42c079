"""Runs the device's wheel on emulated ARM machines and prints what ran where, beside what it should have given."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import bundles
import field
import golden
import machine_facts
import units
import userland
from machines import MACHINES, Machine
from rows import Table

from sprat.errors import SpratError
from sprat.lab.shell import Shell

PARTS = ("golden", "units", "field")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for; 1 where a row is not as expected."""
    asked = _parser().parse_args(argv)
    machines = [MACHINES[name] for name in dict.fromkeys(asked.machines or MACHINES)]
    table = Table()
    begun = time.monotonic()
    # An end from outside leaves no agent, hub or folder behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="sprat-arm-") as folder:
            run(machines, asked.parts or PARTS, Path(folder), table)
    except SpratError as exc:
        table.show("host", "test-arm", f"{type(exc).__name__}: {exc}", expected="runs to its end", ok=False)
    print(table.text())
    names = ", ".join(machine.name for machine in machines)
    taken = time.monotonic() - begun
    print(f"test-arm: {names}: {len(table.rows)} results, {len(table.failed)} not as expected, {taken:.0f} s")
    return 1 if table.failed else 0


def run(machines: Sequence[Machine], parts: Sequence[str], work: Path, table: Table) -> None:
    """Make boards and bundles side by side, then run the parts; what runs alone on a board goes side by side too."""
    shell = Shell(lambda _line: None)
    with ThreadPoolExecutor() as pool:
        _say("Debian userlands with the device's wheel; bundles for them, built on this host")
        wanted = machines if {"golden", "field"} & set(parts) else ()
        building = pool.submit(bundles.build_all, shell, wanted, userland.ROOT / "models", work / "built", table)
        boards = [board for found in pool.map(lambda one: _boards(one, work, table), machines) for board in found]
        built = building.result()
    first = [board for board in boards if board.is_first]
    _say("golden sets, held-out rows and unit tests")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = [pool.submit(job) for job in _jobs(boards, parts, built, work, table)]
    for one in done:
        one.result()
    if "field" in parts:
        _say("field: a hub and a broker on this host, agents on the emulated machines")
        field.play(first, built, work, table)


def _boards(machine: Machine, work: Path, table: Table) -> list[userland.Board]:
    made = userland.make(machine, userland.ROOT / ".userlands")
    boards = [made.board(core, work) for core in machine.cores]
    for board in boards:
        machine_facts.show(made, board, table)
    return boards


def _jobs(
    boards: Sequence[userland.Board], parts: Sequence[str], built: Sequence[bundles.Built], work: Path, table: Table
) -> Iterator[Callable[[], None]]:
    """Yield what may run side by side, the longest first."""
    for board in boards:
        if "units" in parts and board.is_first:
            yield partial(units.run, board, table)
    if "golden" in parts:
        host = golden.references(built, work)
        for board in boards:
            if board.is_first:
                yield partial(golden.golden_sets, board, built, table)
            yield partial(golden.held_out, board, built, host, table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/test-arm", description=__doc__, epilog="Example: scripts/test-arm armhf"
    )
    parser.add_argument("machines", nargs="*", type=_machine, metavar="MACHINE", help="arm64 or armhf; default: both")
    parser.add_argument("--part", dest="parts", action="append", choices=PARTS, help="only this part; repeat it")
    return parser


def _machine(name: str) -> str:
    if name not in MACHINES:
        raise argparse.ArgumentTypeError(f"unknown machine {name!r}; known: {', '.join(MACHINES)}")
    return name


def _say(line: str) -> None:
    print(f"== {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
