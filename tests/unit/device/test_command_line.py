"""The device's command line: wrong use is one line with its remedy, help fits a terminal, a reader may leave at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sprat_device import status
from sprat_device.__main__ import main
from sprat_device.board import readers
from sprat_device.contract.enrolment import EnrolToken
from sprat_device.contract.ids import Digest

COMMANDS = (
    [], ["enrol"], ["run"], ["status"], ["runtimes"], ["install"], ["defer"], ["check"], ["infer"], ["serve"],
    ["board"], ["board", "setup"], ["board", "upgrade"], ["board", "replace"], ["board", "remove"], ["board", "unit"],
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "sprat-device: the following arguments are required: COMMAND; see sprat-device --help"),
        (["statsu"], "serve, board; did you mean 'status'?; see sprat-device --help"),
        (["defer", "soon"], "sprat-device defer: argument HOURS: found 'soon', expected a number; see sprat-device defer --help"),
        (["enrol", "--hub", "x"], "sprat-device enrol: the following arguments are required: --token; see"),
        (["check"], "sprat-device check: a bundle is needed; see sprat-device check --help"),
        (["infer", "--threads", "1.5"], "sprat-device infer: argument --threads: found '1.5', expected a whole number; see"),
        (["serve", "--qeue"], "sprat-device serve: unrecognized arguments: --qeue; see sprat-device serve --help"),
        (["board", "setup", "--runtime", "tf"], "--runtime: found 'tf', expected one of tflite, litert, onnx; "),
        (["status", "a\nb"], "sprat-device: unrecognized arguments: a b; see sprat-device --help"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_with_its_remedy(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        ["status", "--state"], ["run", "--state"], ["defer", "1", "--state"], ["install", "x", "--state"],
        ["enrol", "--hub", "h", "--token", "t", "--state"], ["serve", "--state"], ["board", "unit", "--state"],
        ["check", "b", "--cache"], ["infer", "b", "i", "--output", "o.csv", "--cache"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_file_where_a_folder_is_expected_is_wrong_use(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for given, why in (
        (str(tmp_path / "file"), "which is a file; expected a folder"),
        ("", "expected the name of a folder"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([*line, given])
        assert caught.value.code == 2
        assert f"argument {line[-1]}: found {given!r}, {why}; see " in capsys.readouterr().err
    if line[-1] == "--state" and line[0] != "serve":
        monkeypatch.setenv("SPRAT_STATE", str(tmp_path / "file"))
        with pytest.raises(SystemExit):
            main(line[:-1])
        assert "which is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["defer", "8", "--state", "gone"], 4, "sprat-device: no identity in gone; get one with: sprat-device enrol --hub"),
        (["infer", "b", "i", "--output", "gone/o.csv"], 2, "--output gone/o.csv: there is no folder gone; make it first"),
        (["infer", "b", "i", "--output", "here.csv"], 2, "--output here.csv: found a folder, expected a file"),
        (["infer", "b", "i", "--output", "o.csv", "--threads", "65"], 2, "runtime.threads: found '65', expected an integer"),
        (["run", "--show-settings"], 2, "sprat.toml: cannot be read (Is a directory)"),
        (["serve", "b"], 2, "bundle b: cannot be read (No such file or directory)"),
        (["check", "here.csv"], 2, "bundle here.csv: cannot be read (Is a directory)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_there_or_out_of_range_is_one_line(
    line: list[str], code: int, said: str, *, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPRAT_STATE", str(tmp_path))
    (tmp_path / "here.csv").mkdir()
    (tmp_path / "sprat.toml").mkdir()
    assert main(line) == code
    found = capsys.readouterr()
    assert said in found.err
    assert (found.out, found.err.count("\n")) == ("", 1)


TOKEN = EnrolToken("s" * 32, Digest("aa" * 32), Digest("bb" * 32)).dump()


@pytest.mark.parametrize(
    "hub",
    [
        "",
        "hub.local",
        "http://hub:1",
        "https://",
        "https://hub:99999",
        "https://hub:0",
        "https://a b",
        "https://[::1",
        "https://hub/?a",
    ],
)
def test_an_address_that_is_none_of_a_hub_is_wrong_use(
    hub: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["enrol", "--hub", hub, "--token", TOKEN, "--state", str(tmp_path / "state")]) == 2
    said = f"sprat-device: hub address {hub!r}: expected https://HOST:PORT, the hub's device port\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "state").exists()


def test_a_name_that_no_host_can_have_is_a_hub_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["enrol", "--hub", f"https://{'a' * 70}.x", "--token", TOKEN, "--state", str(tmp_path / "state")]) == 3
    assert "no answer (" in capsys.readouterr().err


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_fits_a_terminal_and_shows_an_example(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([*line, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    # The example is copied, so no line's end breaks it.
    assert max(len(said) for said in told.splitlines() if not said.startswith("Example: ")) <= 80
    assert "Example: sprat-device" in told


def _piped(*line: str, unread: str, folder: Path) -> tuple[int, str]:
    """Run a command whose stdout, or both streams, nobody reads; return its exit code and what it said on stderr."""
    read, write = os.pipe()
    os.close(read)
    said = folder / "stderr"
    with said.open("wb") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "sprat_device", *line, "--state", str(folder)],
            stdout=write, stderr=write if unread == "both" else errors, check=False, timeout=60,
        )  # fmt: skip
    os.close(write)
    return done.returncode, said.read_text()


def test_a_command_whose_reader_has_gone_ends_quietly(tmp_path: Path) -> None:
    assert _piped("run", "--show-settings", unread="stdout", folder=tmp_path) == (readers.GONE, "")
    assert _piped("status", unread="both", folder=tmp_path) == (readers.GONE, "")


def test_a_disk_that_does_not_take_the_output_is_told_in_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sprat_device", "run", "--show-settings", "--state", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        4,
        "sprat-device: this machine: No space left on device; make room there\n",
    )


@pytest.mark.parametrize(
    ("exc", "code", "said"),
    [
        (ValueError("odd\nthing"), 70, "sprat-device: a fault of Sprat (ValueError: odd thing); --debug shows where\n"),
        (
            MemoryError(),
            4,
            "sprat-device: not enough memory for this; end other programs, or do it on a larger machine\n",
        ),
        (
            PermissionError(13, "Permission denied", "/x"),
            4,
            "sprat-device: /x: Permission denied; put sudo before the command, or choose another place\n",
        ),
        (KeyboardInterrupt(), 130, "sprat-device: interrupted\n"),
    ],
)
def test_any_error_is_one_line_and_an_exit_code(
    exc: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_state: Path) -> dict[str, object]:
        raise exc

    monkeypatch.setattr(status, "read", failing)
    assert main(["status"]) == code
    assert capsys.readouterr().err == said
    if isinstance(exc, Exception):
        with pytest.raises(type(exc)):
            main(["status", "--debug"])


def test_another_fault_of_the_system_is_the_explainers(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_socket() -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(readers, "_unread", lambda _fd: False)
    assert readers.served(broken_socket, lambda exc: exc.errno or 0) == 32
