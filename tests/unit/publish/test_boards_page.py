"""docs/boards.md names every option, reason code and path, and its commands are ones that the agent takes."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
import typer

from sprat.cli.wheelhouse import wheelhouse
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.board.upkeep import entry
from sprat_device.board.upkeep.places import Places

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "boards.md").read_text("utf-8")
SOURCES = [*(ROOT / "device/src/sprat_device/board/upkeep").glob("*.py"), ROOT / "src/sprat/cli/wheelhouse.py",
           ROOT / "src/sprat/publish/wheelhouse/wheels.py"]  # fmt: skip
TOLD = set(re.findall(r"--[a-z0-9-]+", PAGE))
COMMANDS = re.findall(r"^sudo (sprat-device board [^#\n]+)", PAGE, re.MULTILINE)


def verbs() -> dict[str, argparse.ArgumentParser]:
    parser = entry._parser()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(verbs.choices)


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_option_of_the_board_is_told(verb: str) -> None:
    options = [name for action in verbs()[verb]._actions for name in action.option_strings if name.startswith("--")]
    assert len(options) > 3
    assert set(options) - {"--help"} <= TOLD
    assert f"board {verb}" in PAGE


def test_every_option_of_wheelhouse_is_told() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(wheelhouse)
    options = [name for one in typer.main.get_command(app).params for name in one.opts if name.startswith("--")]
    assert {name for name in options if name not in {"--json", "--quiet"}} <= TOLD
    assert "--target" in options


def test_every_reason_code_is_told() -> None:
    codes = {
        code for path in SOURCES for code in re.findall(r'(?:BoardRefused|Refused)\(\s*"([a-z-]+)"', path.read_text())
    }
    assert {"tampered", "not-well", "no-wheel"} <= codes
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_every_command_of_the_page_is_one() -> None:
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        arguments = shlex.split(command)[2:]
        assert entry._parser().parse_args(arguments).run


def test_every_place_is_told() -> None:
    at = Places.below(Path("/"), Path("/var/lib/sprat"))
    for path in (at.environments, at.current, at.record, at.unit, at.trial, at.command, at.state):
        assert str(path) in PAGE, path
    assert UNIT_NAME.removesuffix(".service") in PAGE
