from __future__ import annotations

from pathlib import Path

import pytest

from sprat_device.board import settings
from sprat_device.board.settings.runtime import RuntimeSettings, heard, told
from sprat_device.board.settings.serve import address, is_local
from sprat_device.contract.errors import WrongUse


def load(state: Path, text: str) -> settings.ServeSettings:
    (state / settings.FILE_NAME).write_text(f"[serve]\n{text}\n", encoding="utf-8")
    return settings.load(state).serve


def test_the_server_is_on_loopback_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    assert is_local(load(tmp_path, "").listen)
    assert load(tmp_path, 'unix_mode = "600"').unix_mode == 0o600
    assert str(load(tmp_path, 'unix_mode = "600"').unix_mode) == "0600"
    found = load(tmp_path, 'listen = "0.0.0.0:80"\nexposed = true\ntoken_file = "/etc/sprat/token"')
    assert address(found.listen) == ("0.0.0.0", 80)  # noqa: S104 - what is tested


@pytest.mark.parametrize(
    ("text", "local"),
    [("127.9.9.9:1", True), ("[::1]:1", True), ("localhost:1", True), ("unix:/run/a.sock", True), ("[::]:1", False),
     ("192.168.0.2:1", False), ("board.local:1", False), ("localhost.example:1", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(text: str, local: bool) -> None:
    assert is_local(text) is local


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('listen = "8178"', "sprat.toml:2.*expected HOST:PORT"),
        ('listen = "127.0.0.1:70000"', "a port from 0 to 65535"),
        ('listen = "unix:relative.sock"', "expected HOST:PORT"),
        ('listen = "0.0.0.0:80"', "sprat.toml:2.*reachable from other machines"),
        ('listen = "board.local:80"\nexposed = true', "exposed without a token"),
        ('unix_mode = "0999"', "an octal mode"),
        ("unix_mode = 660", "an octal mode"),
        ("queue = 0", "an integer from 1"),
        ("qeue = 3", "did you mean 'serve.queue'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        load(tmp_path, text)


def test_several_inputs_of_a_model_may_be_of_several_kinds(tmp_path: Path) -> None:
    inputs = [{"model": "a", "kind": "serve"}, {"model": "a", "kind": "http", "name": "door"}]
    assert [entry.kind for entry in settings.load(tmp_path, flags={"inputs": inputs}).inputs] == ["serve", "http"]


def test_how_artifacts_are_run_is_told_to_another_process_in_words() -> None:
    assert told(RuntimeSettings(cache_entries=9, prefer=("onnx",))) == []
    chosen = RuntimeSettings(threads=3, xnnpack="off", onnx_arena=False)
    assert told(chosen) == ["threads=3", "xnnpack=off", "onnx_arena=false"]
    assert heard(told(chosen)) == chosen
    for word, said in (
        ("xnpack=off", "did you mean 'xnnpack'"),
        ("xnnpack=maybe", "one of auto, on, off"),
        ("x", "unknown"),
    ):
        with pytest.raises(WrongUse, match=said):
            heard([word])
