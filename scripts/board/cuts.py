"""Part `cuts`: the power goes at random moments, while it predicts and while it installs; then everything is counted."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Final

from board import UNIT, Board
from world import MODEL

_PREDICTING_S: Final = (0.0, 20.0)
_INSTALLING_S: Final = (0.0, 25.0)
_REPORT_S: Final = 60.0


def run(board: Board, cuts: int, dice: random.Random, schemes: tuple[str, str]) -> None:
    """Cut the power so often; every second time a release is being installed."""
    guest, world = board.guest, board.world
    shrunk: list[str] = []
    doubts: list[str] = []
    rollout, offered, compared, booted = "", 0, 0, 0.0
    for number in range(cuts):
        board.ready()
        installing = number % 2 == 1
        if installing and (not rollout or world.hub.client.rollout(rollout)["phase"] != "running"):
            rollout = world.begin_rollout(world.release(schemes[offered % 2]))
            offered += 1
        time.sleep(dice.uniform(*(_INSTALLING_S if installing else _PREDICTING_S)))
        durable = _durable(board)
        time.sleep(dice.uniform(0.0, 2.0))
        guest.cut_power()
        print(f"   cut {number + 1} of {cuts}, {'installing' if installing else 'predicting'}", file=sys.stderr)
        booted = max(booted, guest.boot())
        board.ready()
        compared += durable > 0
        if (now := _durable(board)) < durable:
            shrunk.append(f"{durable} -> {now}")
        doubts += _doubts(board)
    board.show(f"{cuts} power cuts: boots that ended at the agent's READY", f"{cuts} of {cuts}, slowest login {booted:.0f} s", expected="all", ok=True)  # fmt: skip
    found = f"{' '.join(shrunk) or 0}, {compared} cuts compared"
    board.show("records once on the disk that a cut took back", found, expected=f"0, {cuts} cuts compared")
    board.show("damage told by ext4 or the agent after a cut", "; ".join(doubts)[:120] or "none", expected="none")
    if rollout:
        phase = world.ended(rollout, timeout_s=900)
        board.show(f"the last of {offered} rollouts", phase, expected="completed")
    _bundle_is_whole(board, schemes)
    world.await_more(board.name, 40)
    _stop_then_cut(board)
    board.show_ledgers(f"after {cuts + 1} power cuts")


def _durable(board: Board) -> int:
    """Return how many predictions the spool of this boot's agent has taken, sent ones included; -1 where it tells none."""
    end = time.monotonic() + _REPORT_S
    while time.monotonic() < end:
        done = board.guest.run("cat /proc/sys/kernel/random/boot_id && sprat-device status --json", timeout_s=60)
        boot, _, told = done.stdout.partition("\n")
        # Until the agent's first report `status` shows what the one before the cut had written, minutes before it.
        if done.returncode == 0 and (report := json.loads(told)["report"])["boot_id"] == boot.replace("-", ""):
            lane = report["ledger"].get("predictions", {})
            return int(lane.get("acked", 0)) + int(lane.get("spooled", 0))
        time.sleep(1)
    return -1


def _doubts(board: Board) -> list[str]:
    kernel = board.guest.must("journalctl -k -b --no-pager -o cat | grep -iE 'ext4-fs (error|warning)|i/o error' || true")  # fmt: skip
    agent = board.guest.must(f"journalctl -u {UNIT} -b --no-pager -o cat | grep -iE 'damaged|traceback' || true")
    return [line for line in (*kernel.splitlines(), *agent.splitlines()) if line]


def _bundle_is_whole(board: Board, schemes: tuple[str, str]) -> None:
    running = board.world.reported(board.name)["models"][MODEL]["running"]
    known = {board.world.bundles[scheme]["sha256"]: scheme for scheme in schemes}
    board.show("active bundle", known.get(running, running[:12]), expected="one that was released", ok=running in known)
    found = board.guest.must("find /var/lib/sprat -type f -name '*.sprat*' -exec sha256sum {} + 2>/dev/null || true")
    hashes = {line.split()[0] for line in found.splitlines()}
    board.show("its bytes on the disk have its SHA-256", running in hashes, expected=True)


def _stop_then_cut(board: Board) -> None:
    """What a stop has written is there after a cut at once."""
    board.guest.must(f"systemctl stop {UNIT}")
    before = _durable(board)
    board.guest.cut_power()
    board.guest.boot()
    board.ready()
    after = _durable(board)
    board.world.await_more(board.name, 40)
    board.show("a cut right after systemctl stop: records on the disk before and after", f"{before}, {after}", expected="not fewer", ok=0 < before <= after)  # fmt: skip
