"""Part `join`: the one line on a fresh Debian, what it made, and predictions that reach the hub."""

from __future__ import annotations

import time

from board import RATE_HZ, STATE, UNIT, Board
from qemu import GuestFailed
from world import FIRST, MODEL


def run(board: Board) -> None:
    """Set the board up, feed it, and let it take its first release."""
    _one_line(board)
    _what_it_made(board)
    _predicts(board)


def _one_line(board: Board) -> None:
    line = board.world.token(board.name)["setup"]
    begun = time.monotonic()
    done = board.guest.run(f"{line} --start-s 300 --json", timeout_s=900)
    taken = time.monotonic() - begun
    if done.returncode:
        board.table.tell(done.stderr + board.journal())
        raise GuestFailed(f"the one line ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    board.show("the one line sets the board up", f"exit 0 after {taken:.0f} s", expected="exit 0", ok=True)


def _what_it_made(board: Board) -> None:
    guest = board.guest
    board.show("user and its shell", guest.must("getent passwd sprat | cut -d: -f1,7"), expected="sprat:/usr/sbin/nologin")  # fmt: skip
    identity = guest.must(f"stat -c '%U %a' {STATE}/identity/device.key")
    board.show("the device's key: owner and mode", identity, expected="sprat 600")
    facts = [board.fact(name) for name in ("Type", "ActiveState", "SubState", "NRestarts")]
    board.show("systemd calls it", " ".join(facts), expected="notify active running 0")
    user = guest.must(f"ps -o user= -p $(systemctl show {UNIT} --value -p MainPID)")
    board.show("the agent runs as", user, expected="sprat")
    board.show("starts at boot", guest.must(f"systemctl is-enabled {UNIT}"), expected="enabled")
    begun, ready = (int(board.fact(name)) for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"))  # fmt: skip
    board.show("from its start to READY", f"{(ready - begun) / 1e6:.1f} s", expected="READY came", ok=ready > begun)
    told = guest.must(f"systemctl show {UNIT} --value -p StatusText")
    board.show("status line for people", told or "none", expected="says something", ok=bool(told))


def _predicts(board: Board) -> None:
    world, guest = board.world, board.guest
    guest.must(f"install -o sprat -m 600 /dev/stdin {STATE}/rows.npz", given=world.rows.read_bytes())
    board.settings()
    guest.must(f"systemctl reload {UNIT}")
    phase = world.ended(world.begin_rollout(world.release(FIRST)), timeout_s=900)
    board.show("rollout of the first release", phase, expected="completed")
    running = world.reported(board.name)["models"][MODEL]["running"]
    board.show("it runs the released bundle", running[:12], expected=world.bundles[FIRST]["sha256"][:12])
    count = world.await_more(board.name, 3 * RATE_HZ)
    board.show("predictions at the hub", count, expected=f">= {3 * RATE_HZ}", ok=count >= 3 * RATE_HZ)
