"""Part `watch`: the watchdog, kill -9, reload, stop, and the journal, by a real systemd."""

from __future__ import annotations

import json
import time
from typing import Final

from board import UNIT, Board
from world import MODEL

_FLOOD: Final = 2000
_SHORT_S: Final = 20
"""The unit's watchdog for the check, so that it need not wait a minute; the protocol is the same."""


def run(board: Board) -> None:
    """Stop it, kill it, reload it, end it."""
    _killed(board)
    _hangs(board)
    _reload(board)
    _journal(board)
    _stop(board)


def _killed(board: Board) -> None:
    before, pid = int(board.fact("NRestarts")), board.fact("MainPID")
    board.guest.must(f"kill -9 {pid}")
    board.await_fact("NRestarts", lambda value: int(value) == before + 1)
    board.ready()
    board.show("kill -9: systemd starts it again", int(board.fact("NRestarts")) - before, expected=1)
    board.world.await_more(board.name, 40)


def _hangs(board: Board) -> None:
    """Halt it with SIGSTOP: it can feed nobody any more."""
    guest = board.guest
    unit_s = int(guest.must(f"sed -n 's/^WatchdogSec=//p' /etc/systemd/system/{UNIT}.service"))
    board.show("watchdog of the unit", f"{unit_s} s", expected="60 s")
    guest.must(f"mkdir -p /run/systemd/system/{UNIT}.service.d && printf '[Service]\\nWatchdogSec={_SHORT_S}\\n' "
               f">/run/systemd/system/{UNIT}.service.d/short.conf && systemctl daemon-reload && systemctl restart {UNIT}",
               timeout_s=300)  # fmt: skip
    board.world.await_more(board.name, 40)
    before, pid = int(board.fact("NRestarts")), board.fact("MainPID")
    began = time.monotonic()
    guest.must(f"kill -STOP {pid}")
    board.await_fact("NRestarts", lambda value: int(value) > before, timeout_s=300)
    taken = time.monotonic() - began
    said = guest.must(f"journalctl -u {UNIT} --no-pager -o cat | grep -c 'Watchdog timeout' || true")
    board.show(
        f"SIGSTOP: systemd kills and starts it again (watchdog of {_SHORT_S} s)", f"after {taken:.0f} s, {said} timeout",
        expected="1 timeout", ok=said == "1",
    )  # fmt: skip
    board.ready()
    guest.must(f"rm -r /run/systemd/system/{UNIT}.service.d && systemctl daemon-reload && systemctl restart {UNIT}", timeout_s=300)  # fmt: skip
    board.world.await_more(board.name, 40)
    board.show_ledgers("after kill -9 and a hang")


def _reload(board: Board) -> None:
    pid = board.fact("MainPID")
    board.settings(level="debug", more='log_format = "pairs"')
    board.guest.must(f"systemctl reload {UNIT}")
    applied = board.guest.run(
        f"for n in $(seq 60); do journalctl -u {UNIT} --no-pager -o cat | grep -q 'settings changed by the file' && exit 0; "
        "sleep 1; done; exit 1", timeout_s=200,
    )  # fmt: skip
    found = f"{'applied' if applied.returncode == 0 else 'not applied'}, {'same' if board.fact('MainPID') == pid else 'another'} process"
    board.show("systemctl reload takes new settings", found, expected="applied, same process")


def _journal(board: Board) -> None:
    """Priorities as fields of the journal, and systemd's own limit for a service that floods it."""
    lines = board.guest.must(f"journalctl -u {UNIT} _COMM=python -o json --no-pager -n 400 || true").splitlines()
    lines = lines or board.guest.must(f"journalctl _SYSTEMD_UNIT={UNIT}.service -o json --no-pager -n 400").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    priorities = sorted({row["PRIORITY"] for row in rows})
    marked = sum(str(row.get("MESSAGE", "")).startswith("<") for row in rows)
    board.show(
        "journal: priorities of the agent's lines, lines with a raw mark", f"{','.join(priorities)}; {marked}",
        expected="6 among them; 0", ok="6" in priorities and marked == 0,
    )  # fmt: skip
    limit = [board.fact(name) for name in ("LogRateLimitBurst", "LogRateLimitIntervalUSec")]
    board.show("journal: limit of the unit", " lines in ".join(limit), expected="300 lines in 30s")
    # A program of the same unit that says far too much: the limit is systemd's, and counts by the unit's cgroup.
    board.guest.must(
        f"printf '[Service]\\nExecStartPost=-/usr/bin/seq -f flood-%%%%g {_FLOOD}\\n' >/tmp/f && "
        f"mkdir -p /run/systemd/system/{UNIT}.service.d && cp /tmp/f /run/systemd/system/{UNIT}.service.d/flood.conf && "
        f"systemctl daemon-reload && systemctl restart {UNIT}", timeout_s=300,
    )  # fmt: skip
    time.sleep(2)
    written = int(board.guest.must(f"journalctl -u {UNIT} --no-pager -o cat | grep -c '^flood-' || true"))
    board.guest.must(f"rm -r /run/systemd/system/{UNIT}.service.d && systemctl daemon-reload && systemctl restart {UNIT}", timeout_s=300)  # fmt: skip
    # journald lets more than the burst through where the disk has room (journald.conf, RateLimitBurst).
    board.show(
        f"journal: lines written of a flood of {_FLOOD} from the unit", written, expected=f"some, fewer than {_FLOOD}",
        ok=0 < written < _FLOOD,
    )  # fmt: skip


def _stop(board: Board) -> None:
    """End it while it predicts: within five seconds, with everything written."""
    board.settings()
    board.guest.must(f"systemctl restart {UNIT}", timeout_s=300)
    board.world.await_more(board.name, 40)
    took = float(board.guest.must(f"a=$(date +%s.%N); systemctl stop {UNIT}; b=$(date +%s.%N); echo \"$a $b\" | awk '{{print $2-$1}}'"))  # fmt: skip
    facts = [board.fact(name) for name in ("Result", "ExecMainStatus")]
    board.show("systemctl stop", f"{took:.1f} s, {' '.join(facts)}", expected="<= 5 s, success 0", ok=took <= 5 and facts == ["success", "0"])  # fmt: skip
    report = board.status()["report"]
    lanes, model = report["ledger"], report["models"][MODEL]
    open_, produced = (sum(lane[count] for lane in lanes.values()) for count in ("open", "produced"))
    board.show("records not on the disk, by the status that the stop left", f"{open_} of {produced}", expected="0 of some", ok=open_ == 0 < produced)  # fmt: skip
    board.guest.must(f"systemctl start {UNIT}", timeout_s=300)
    board.world.await_more(board.name, 20)
    arrived = [len(run) for run in board.world.runs(board.name)][-2:-1]
    board.show("predictions of the run that was stopped, at the hub", arrived, expected=[model["healthy"] + model["errors"]])  # fmt: skip
    board.show_ledgers("after stop and start")
