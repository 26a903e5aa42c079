"""Commands: what is known is answered, what is not is answered too, and nothing raises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.faults.disk import FullDisk

from sprat_device.board.files import OsFiles
from sprat_device.commands import Commands, Once, whole
from sprat_device.contract.errors import ContractError


def _refuse(_arguments: object) -> dict[str, object]:
    raise ContractError("argument 'x' is missing")


COMMANDS = Commands({"ping": lambda arguments: {"echo": arguments.get("say")}, "picky": _refuse})


def test_a_known_command_answers_with_its_result() -> None:
    reply = json.loads(COMMANDS.answer("ping", b'{"say": "hello"}'))
    assert reply == {"schema": "sprat.reply/1", "ok": True, "result": {"echo": "hello"}}


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("reboot", b"{}", "unknown command 'reboot'; known: picky, ping"),
        ("ping", b"[1]", "expected a mapping"),
        ("ping", b"{", "Expecting property name"),
        ("ping", b"[" * 100_000, "recursion"),
        ("picky", b"", "argument 'x' is missing"),
    ],
)
def test_what_cannot_be_done_is_said(name: str, payload: bytes, said: str) -> None:
    reply = json.loads(COMMANDS.answer(name, payload))
    assert reply["ok"] is False
    assert said in reply["detail"]


def _restarts(path: Path, done: list[int], **how: object) -> Commands:
    def restart(_arguments: object) -> dict[str, object]:
        done.append(1)
        return {"restarts": True}

    return Commands({"restart": restart}, once=Once(OsFiles(), path), **how)  # type: ignore[arg-type]


def test_what_the_owner_did_not_allow_is_not_done(tmp_path: Path) -> None:
    done: list[int] = []
    commands = _restarts(tmp_path / "begun.json", done, allowed=("ping",))
    reply = json.loads(commands.answer("restart", b"", b"1"))
    assert (reply["ok"], done) == (False, [])
    assert "not allowed on this device" in reply["detail"]
    commands.allow(["restart"])
    assert json.loads(commands.answer("restart", b"", b"1"))["ok"]
    assert done == [1]


def test_a_command_with_an_id_is_done_once_over_restarts(tmp_path: Path) -> None:
    done: list[int] = []
    for correlation in (b"1", b"1", b"2", b"1"):
        commands = _restarts(tmp_path / "begun.json", done)  # the agent begins anew
        assert json.loads(commands.answer("restart", b"{}", correlation))["ok"]
    assert done == [1, 1]


def test_the_list_of_ids_is_bounded_and_a_damaged_one_begins_anew(tmp_path: Path) -> None:
    once = Once(OsFiles(), tmp_path / "begun.json")
    assert all(once.first(str(i).encode()) for i in range(200))
    assert (tmp_path / "begun.json").stat().st_size < 2000
    assert not once.first(b"199")
    for damage in (b"{", b"[]", b'{"ids": 3}'):
        (tmp_path / "begun.json").write_bytes(damage)
        assert once.first(b"199")


@pytest.mark.parametrize("correlation", [b"", bytes(65)])
def test_a_restart_without_a_usable_id_is_refused(tmp_path: Path, correlation: bytes) -> None:
    done: list[int] = []
    reply = json.loads(_restarts(tmp_path / "begun.json", done).answer("restart", b"", correlation))
    assert (reply["ok"], done) == (False, [])
    assert "correlation data" in reply["detail"]


def test_a_restart_whose_id_cannot_be_kept_is_not_done(tmp_path: Path) -> None:
    done: list[int] = []
    commands = Commands(
        {"restart": lambda _a: {"n": done.append(1)}}, once=Once(FullDisk(room=0), tmp_path / "begun.json")
    )
    reply = json.loads(commands.answer("restart", b"", b"1"))
    assert (reply["ok"], done) == (False, [])
    assert "No space left" in reply["detail"]


@pytest.mark.parametrize("value", [0, 201, True, "5", 1.5])
def test_an_argument_out_of_bounds_is_refused(value: object) -> None:
    with pytest.raises(ContractError, match="expected a whole number from 1 to 200"):
        whole({"lines": value}, "lines", default=50, most=200)
    assert whole({}, "lines", default=50, most=200) == 50
