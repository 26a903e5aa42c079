import os
import subprocess
import sys

import pytest

from sprat import cli, settings
from sprat.cli.output import Output
from sprat.errors import GateFailed, HubUnreachable, MachineLacks, WrongUse
from sprat_device.board import readers


def _raising(monkeypatch, exc):
    def app(*_args, **_kwargs):
        raise exc

    monkeypatch.setattr(cli, "app", app)


@pytest.mark.parametrize(
    ("exc", "code", "said"),
    [
        (GateFailed("parity", "off by 3"), 1, "sprat: parity: off by 3\n"),
        (WrongUse("found x,\n expected y"), 2, "sprat: found x, expected y\n"),
        (HubUnreachable("no answer"), 3, "sprat: no answer\n"),
        (MachineLacks("no tflite"), 4, "sprat: no tflite\n"),
        (OSError(28, "No space left on device", "/x"), 4, "sprat: /x: No space left on device\n"),
        (ValueError("odd"), 70, "sprat: a fault of Sprat (ValueError: odd); --debug shows where\n"),
    ],
)
def test_every_error_is_one_line_and_the_exit_code_of_its_family(monkeypatch, capsys, exc, code, said):
    _raising(monkeypatch, exc)
    assert cli.main(["build"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("line", [["--help"], ["--show-settings"], ["fleet", "--help"], ["fleet", "--nope"]])
def test_a_command_whose_reader_has_gone_ends_quietly(line, tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "sprat.cli", *line],
        stdout=write, stderr=write if "--nope" in line else subprocess.PIPE, check=False, cwd=tmp_path,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr or b"") == (readers.GONE, b"")


def test_a_peer_that_closes_a_socket_is_not_a_reader_that_has_gone(monkeypatch, capsys):
    monkeypatch.setattr(readers, "_unread", lambda _fd: False)
    _raising(monkeypatch, BrokenPipeError(32, "Broken pipe", "a socket"))
    assert cli.main(["build"]) == 4
    assert capsys.readouterr().err == "sprat: a socket: Broken pipe\n"


def test_debug_anywhere_on_the_line_shows_the_traceback(monkeypatch):
    _raising(monkeypatch, ValueError("odd"))
    with pytest.raises(ValueError, match="odd"):
        cli.main(["build", "x", "--debug"])


def test_wrong_use_of_the_line_is_exit_code_two(capsys):
    assert cli.main(["bild"]) == 2
    assert cli.main(["build", "--nope"]) == 2
    assert "see --help" in capsys.readouterr().err


def test_help_names_every_command_and_version_and_settings_work_anywhere(capsys, monkeypatch):
    monkeypatch.setenv("SPRAT_HUB", "http://127.0.0.1:1")
    monkeypatch.setenv("SPRAT_TOKEN", "secret-token")
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name, _, _ in cli.COMMANDS)
    assert cli.main(["--version"]) == 0
    assert cli.main(["build", "x", "--show-settings"]) == 0
    shown = capsys.readouterr().out
    assert "SPRAT_HUB" in shown
    assert "secret-token" not in shown


@pytest.mark.parametrize("name", ["build", "check", "inspect", "init", "data", "runtimes", "runs"])
def test_the_help_of_every_command_has_an_example(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert f"Example: sprat {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from sprat.cli import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'numpy', 'rich', 'httpx', 'tuf')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_json_leaves_stdout_to_the_document(capsys):
    output = Output(json=True)
    output.say("working")
    output.table(("a",), [("b",)])
    output.result({"done": 1}, "done")
    found = capsys.readouterr()
    assert found.out == '{\n "done": 1\n}\n'
    assert found.err == "working\n"


def test_an_unknown_command_is_one_line(capsys):
    assert cli.main(["bild"]) == 2
    assert capsys.readouterr().err == "sprat: No such command 'bild'; see --help\n"


def test_settings_layers_and_their_origins(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('hub = "http://file"\ntoken = "t"\n')
    found = settings.read({"token": "flag", "hub": None}, {"SPRAT_SETTINGS": str(file), "SPRAT_RUNS_DIR": "/runs"})
    assert (found.hub, found.token, str(found.runs_dir)) == ("http://file", "flag", "/runs")
    origins = {name: origin for name, _, origin in settings.describe(found)}
    assert origins["hub"] == str(file)
    assert (origins["token"], origins["runs_dir"], origins["data_dir"]) == ("flag", "SPRAT_RUNS_DIR", "default")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\nhubb = "x"\n', "line 2: unknown key 'hubb'; did you mean 'hub'"),
        ("hub = 3\n", "found '3', expected a string"),
        ("conversion_timeout_s = 0\n", "expected a number above zero"),
        ("hub = ", "Invalid value"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, said):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(WrongUse) as caught:
        settings.read({}, {"SPRAT_SETTINGS": str(file)})
    assert said in str(caught.value)


def test_a_settings_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(WrongUse, match="does not exist"):
        settings.read({}, {"SPRAT_SETTINGS": str(tmp_path / "none.toml")})
