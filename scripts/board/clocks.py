"""Part `clock`: a board whose clock is decades wrong starts, connects, predicts and takes an update."""

from __future__ import annotations

import time
from typing import Final

from board import UNIT, Board
from world import MODEL

_CLOCKS: Final = (("1970-01-02T00:00:00", "1970"), ("2040-06-01T00:00:00", "2040"))


def run(board: Board, schemes: tuple[str, str]) -> None:
    """Boot with each clock, and roll a release out under it."""
    for (rtc, year), scheme in zip(_CLOCKS, schemes, strict=True):
        board.guest.shut_down()
        board.guest.boot(rtc=rtc)
        board.ready()
        booted = board.guest.must("date +%Y")
        if booted != year:
            # systemd and timesyncd move a clock that is before their own files' times; a board may lack both.
            board.guest.must(f"systemctl stop systemd-timesyncd; date -s {rtc.replace('T', ' ')!r}; systemctl restart {UNIT}", timeout_s=300)  # fmt: skip
            board.ready()
        board.show(f"clock of {year}: booted with, agent runs in", f"{booted}, {board.guest.must('date +%Y')}", expected=f"runs in {year}", ok=board.guest.must("date +%Y") == year)  # fmt: skip
        count = board.world.await_more(board.name, 40)
        board.show(f"clock of {year}: predictions come in over TLS", count, expected=">= 40 more", ok=True)
        phase = board.world.ended(board.world.begin_rollout(board.world.release(scheme)), timeout_s=900)
        running = board.world.reported(board.name)["models"][MODEL]["running"]
        whole = running == board.world.bundles[scheme]["sha256"]
        board.show(f"clock of {year}: takes an update", f"{phase}, {'runs it' if whole else 'runs another'}", expected="completed, runs it")  # fmt: skip
        board.show_ledgers(f"under a clock of {year}")
    # timesyncd never starts before the time that it last knew: it would keep 2040.
    board.guest.must(
        f"systemctl stop systemd-timesyncd; date -s @{time.time():.0f}; touch /var/lib/systemd/timesync/clock"
    )
    board.guest.shut_down()
    board.guest.boot()
    board.ready()
