"""The emulated boards in the field: a real hub and broker on this host, real agents there, and the ledger afterwards.

Each board enrols, installs the first release from a copied repository, runs it, gets the second one offered by a
rollout, is killed with -9 and started again, and is stopped. Every number is asked of the hub or of the board's status.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from bundles import Built
from machines import Machine
from rows import Table
from userland import Board

from sprat.lab.chapters import passphrase
from sprat.lab.parts import LabDevice, LabHub, wait_for
from sprat.lab.shell import Shell
from sprat_device.contract.phases import InstallPhase, RolloutPhase

MODEL: Final = "digits"
CHANNEL: Final = "canary"
FIRST: Final = "int8-full"
SECOND: Final = "float32"
_COUNTED: Final = ("acked", "spooled", "open", "evicted", "damaged")
_WORRYING: Final = re.compile(r"Traceback|Warning|\b(ERROR|CRITICAL)\b")
_WAIT_S: Final = 180
"""Long, since an emulated core is slow; nothing here measures time."""


@dataclass(frozen=True, slots=True)
class Field:
    """The hub, its boards, and what was built for them."""

    shell: Shell
    hub: LabHub
    boards: Mapping[str, LabDevice]
    built: Sequence[Built]
    table: Table

    def bundles(self, scheme: str) -> list[Built]:
        """Return the bundles of one scheme of the model, one for each target."""
        return [one for one in self.built if (one.build.model, one.build.scheme) == (MODEL, scheme)]


def play(emulated: Sequence[Board], built: Sequence[Built], work: Path, table: Table) -> None:
    """Let the boards live through all of it."""
    with _field(emulated, built, work, table) as field:
        first = _release(field, FIRST)
        copied = shutil.copytree(field.hub.folder / "repository", work / "copied-repository")
        for name, board in field.boards.items():
            told = field.shell.device(board.python, "install", str(copied), "--state", str(board.state))
            found, expected = told[MODEL].partition(";")[0], f"release {first} is checked"
            table.show(name, "install from a copied repository", found, expected=expected)
            board.start()
        for one in emulated:
            _answers(field, one.machine)
        _roll_out(field, _release(field, SECOND))
        for name, board in field.boards.items():
            _stream_is_whole(field, name)
            assert board.process is not None
            board.process.kill()
            board.process.wait()
            board.start()
        for name in field.boards:
            _back_after_the_kill(field, name)
        for name, board in field.boards.items():
            _ends(field, name, board)


@contextmanager
def _field(emulated: Sequence[Board], built: Sequence[Built], work: Path, table: Table) -> Iterator[Field]:
    env = {"SPRAT_KEY_PASSPHRASE": passphrase(), "SPRAT_KEYS_DIR": str(work / "keys")}
    shell = Shell(lambda _line: None, env)
    with ExitStack() as clearing:
        hub = LabHub.start(shell, work / "hub")
        clearing.callback(hub.stop)
        env.update(SPRAT_HUB=hub.run["console_url"], SPRAT_TOKEN=hub.token)
        table.show("host", "broker", hub.client.status()["broker"]["kind"], expected="mosquitto")
        shell.sprat("keys", "init", "--simple")
        boards: dict[str, LabDevice] = {}
        field = Field(shell, hub, boards, built, table)
        for one in emulated:
            name = one.name
            answer = shell.sprat("enrol", "token", "--device", name, "--channel", CHANNEL, "--model", MODEL)
            rows = field.bundles(FIRST)[0].rows
            board = LabDevice.enrol(shell, hub, name, python=one.python, token=answer["token"], stream=rows)
            boards[name] = board
            clearing.callback(board.stop)
        yield field


def _release(field: Field, scheme: str) -> int:
    paths = [str(one.path) for one in field.bundles(scheme)]
    released = field.shell.sprat("release", *paths, "--channel", CHANNEL)["releases"]
    return int(released[0]["release_seq"])


def _answers(field: Field, machine: Machine) -> None:
    """The first pass over the held-out rows, as the hub stored it, beside what the build counted on that runtime."""
    name = machine.name
    one = next(b for b in field.bundles(FIRST) if b.target == machine.target)
    with np.load(one.rows) as held_out:
        labels = held_out["labels"]

    def whole() -> list[dict[str, Any]] | None:
        field.boards[name].require_alive()
        rows = _predictions(field, name)[: len(labels)]
        return rows if len(rows) == len(labels) and rows[-1]["index"] == len(labels) - 1 else None

    rows = wait_for(f"first {len(labels)} predictions of {name}", whole, timeout_s=_WAIT_S)
    runtime = _reported(field, name)["facts"]["running"][MODEL]
    right = sum(int(row["label"]) == int(labels[row["index"]]) for row in rows)
    counted = one.correct[runtime]
    field.table.show(name, f"right of {len(labels)} on {runtime}, as the hub stored it", right, expected=counted)
    field.table.show(name, "runs the installed bundle", rows[-1]["bundle"][:12], expected=one.sha256[:12])


def _roll_out(field: Field, release: int) -> None:
    started = field.shell.sprat(
        "rollout", "start", f"{MODEL}@{release}", "--channel", CHANNEL, "--wave", "100%",
        "--healthy", "60", "--deadline", str(_WAIT_S),
    )  # fmt: skip
    ended = (RolloutPhase.COMPLETED, RolloutPhase.ABORTED, RolloutPhase.PAUSED)

    def done() -> str | None:
        for board in field.boards.values():
            board.require_alive()
        phase = str(field.hub.client.rollout(started["id"])["phase"])
        return phase if phase in ended else None

    phase = wait_for("rollout", done, timeout_s=_WAIT_S)
    field.table.show("host", "rollout of the next release", phase, expected=str(RolloutPhase.COMPLETED))
    for name in field.boards:
        install = _reported(field, name)["models"][MODEL]["install"]
        found = f"release {install['release_seq']} {install['phase']} {install['reason']}".strip()
        expected = f"release {release} {InstallPhase.CONFIRMED}"
        field.table.show(name, "install over HTTPS by the updater", found, expected=expected)


def _stream_is_whole(field: Field, name: str) -> None:
    times = Counter(row["index"] for row in _predictions(field, name))
    gaps = max(times) + 1 - len(times)
    doubled = sum(count - 1 for count in times.values())
    found = f"{len(times)} predictions, {gaps} missing, {doubled} doubled"
    field.table.show(name, "stream across the swap", found, expected="0 missing, 0 doubled", ok=gaps == doubled == 0)


def _back_after_the_kill(field: Field, name: str) -> None:
    """After kill -9 and a start the board answers again, and its frames go on arriving."""
    before = len(_predictions(field, name))

    def more() -> int | None:
        field.boards[name].require_alive()
        count = len(_predictions(field, name)) - before
        return count if count >= 60 else None

    found = wait_for(f"predictions of {name} after its start", more, timeout_s=_WAIT_S)
    field.table.show(name, "predictions after kill -9 and a start", found, expected=">= 60", ok=found >= 60)


def _ends(field: Field, name: str, board: LabDevice) -> None:
    """Stop the agent and balance both ledgers: the board's own, and the hub's."""
    field.table.show(name, "agent's exit code on SIGTERM", board.stop(), expected=0)
    log = board.log.read_text(errors="replace")
    wrong = [line for line in log.splitlines() if _WORRYING.search(line)]
    if wrong:
        field.table.tell(log, lines=40)
    field.table.show(name, "errors and warnings in the agent's log", len(wrong), expected=0)
    status = field.shell.device(board.python, "status", "--state", str(board.state))
    own = status["report"]["ledger"]
    unequal = {lane: row for lane, row in own.items() if row["produced"] != sum(row[count] for count in _COUNTED)}
    produced = sum(row["produced"] for row in own.values())
    lost = sum(row["evicted"] + row["damaged"] for row in own.values())
    told = f"{produced} records, {lost} lost, {len(unequal)} lanes off balance"
    field.table.show(name, "the board's ledger", told, expected="0 lost, 0 off balance", ok=not unequal and lost == 0)
    lanes = field.hub.client.ledger(name)
    counts = {what: sum(lane[what] for lane in lanes.values()) for what in ("missing", "evicted", "damaged")}
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    field.table.show(
        name, "the hub's ledger of it", told, expected="all 0", ok=bool(lanes) and not any(counts.values())
    )


def _reported(field: Field, name: str) -> dict[str, Any]:
    found: dict[str, Any] = field.hub.client.device(name)["reported"]
    return found


def _predictions(field: Field, name: str) -> list[dict[str, Any]]:
    return sorted(field.hub.client.predictions(name, MODEL), key=lambda row: row["index"])
