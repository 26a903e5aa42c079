"""Commands: what is known is answered, what is not is answered too, and nothing raises."""

from __future__ import annotations

import json

import pytest

from sprat_device.commands import Commands
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
        ("picky", b"", "argument 'x' is missing"),
    ],
)
def test_what_cannot_be_done_is_said(name: str, payload: bytes, said: str) -> None:
    reply = json.loads(COMMANDS.answer(name, payload))
    assert reply["ok"] is False
    assert said in reply["detail"]
