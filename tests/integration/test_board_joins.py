"""A fresh board and a real hub: the line that `sprat enrol token` prints, an upgrade from the hub, a replaced board."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.boards import QUICK, FakeBoard, agent, one_line, told
from tests.houses import build_house, unchanged, variant
from tests.integration.test_hub_http import Hub, make
from tests.samples import no_passphrase

from sprat.publish.keys import KeyFolder, parse_public
from sprat.publish.repository import initial_metadata

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("joins")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A running hub with a signing root and a wheelhouse."""
    folder = tmp_path_factory.mktemp("hub")
    made = make(folder / "hub").start()
    keys = KeyFolder.create(folder / "keys", passphrase=no_passphrase, simple=True)
    with made.client as client:
        online = parse_public(client.online_key())
        client.found_repository(initial_metadata(keys, online, passphrase=no_passphrase, now=datetime.now(UTC)))
    build_house(made.folder / "wheelhouses")
    yield made
    assert made.end() == 0


@pytest.fixture
def board(tmp_path: Path) -> Iterator[FakeBoard]:
    """A fresh board."""
    made = FakeBoard(tmp_path / "board")
    yield made
    made.end()


def enrol(hub: Hub, *arguments: str) -> dict[str, Any]:
    """Run `sprat enrol …` as an operator does."""
    environment = {**os.environ, "SPRAT_HUB": hub.run["console_url"]}
    environment["SPRAT_TOKEN"] = (hub.folder / "admin.token").read_text().strip()
    done = subprocess.run(
        [sys.executable, "-m", "sprat.cli", "enrol", *arguments, "--json"], env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def token(hub: Hub, *arguments: str) -> dict[str, Any]:
    return enrol(hub, "token", "--model", "digits", "--channel", "canary", *arguments)


def paste(board: FakeBoard, line: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a line on a board; it is root of its own folder, so there is no sudo."""
    assert line.startswith("sudo ")
    end = shlex.join(["--root", str(board.root), *QUICK, *more])
    return told(board, "sh", "-c", f"{line.removeprefix('sudo ')} {end}")


def test_one_line_brings_a_fresh_board_into_the_fleet_and_the_hub_upgrades_it(
    hub: Hub, board: FakeBoard, tmp_path: Path
) -> None:
    made = token(hub, "--device", "porch")
    assert made["hub"] == hub.run["device_url"]
    done = paste(board, made["setup"])
    assert done.returncode == 0, done.stderr + board.journal
    assert "porch runs agent" in done.stdout
    assert made["token"] not in " ".join(board.calls)
    with hub.client as client:
        assert client.device("porch")["facts"]["arch"]
    assert not list((board.root / "opt/sprat").glob(".fetched-*"))
    pid = board.pid
    assert paste(board, made["setup"]).returncode == 0, "once more changes nothing"
    assert board.pid == pid

    house = next((hub.folder / "wheelhouses").iterdir())
    fresh = variant(house, tmp_path / "fresh" / house.name, "7.7.7", unchanged)
    house.rename(tmp_path / "old")
    fresh.rename(house)
    try:
        up = agent(board, "upgrade", *QUICK, "--json")
        assert up.returncode == 0, up.stderr + board.journal
        assert json.loads(up.stdout)["agent"] == "7.7.7"
        stale = paste(FakeBoard(tmp_path / "later"), made["setup"])
        assert "no wheelhouse here has it any more; make another token" in one_line(stale, 1)
    finally:
        house.rename(tmp_path / "new")
        (tmp_path / "old").rename(house)

    again = enrol(hub, "replace", "porch")
    with hub.client as client:
        assert client.device("porch")["revoked_us"]
    back = agent(board, "replace", "--hub", again["hub"], "--token", again["token"], *QUICK)
    assert back.returncode == 0, back.stderr + board.journal
    with hub.client as client:
        assert not client.device("porch")["revoked_us"]


def test_a_token_that_is_bound_to_another_id_leaves_the_board_as_it_was(hub: Hub, board: FakeBoard) -> None:
    made = token(hub, "--device", "roof")
    done = paste(board, made["setup"], "--device", "attic")
    said = one_line(done, 1)
    assert "bound to 'roof', 'attic' was asked for" in said
    assert board.files() == set()
    assert not (board.root / "opt/sprat").exists()


def test_what_the_line_does_not_name_is_never_run(hub: Hub, board: FakeBoard) -> None:
    made = token(hub)
    house = next((hub.folder / "wheelhouses").iterdir())
    (wheel,) = (house / "wheels").glob("sprat_device-*.whl")
    right = wheel.read_bytes()
    wheel.write_bytes(right + b"more")
    try:
        said = one_line(paste(board, made["setup"]), 1)
    finally:
        wheel.write_bytes(right)
    assert said == f"{hub.run['device_url']} sent another agent than this line names"
    assert (board.files(), board.calls) == (set(), [])


def test_a_wheel_that_changed_at_the_hub_and_a_hub_that_is_away_are_one_line(hub: Hub, board: FakeBoard) -> None:
    made = token(hub)
    house = next((hub.folder / "wheelhouses").iterdir())
    (wheel,) = (house / "wheels").glob("numpy-*.whl")
    right = wheel.read_bytes()
    wheel.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    try:
        said = one_line(paste(board, made["setup"]), 1)
    finally:
        wheel.write_bytes(right)
    assert said.startswith("tampered: ")
    assert wheel.name in said
    assert (board.files(), board.calls) == (set(), [])
    away = made["setup"].replace(made["hub"], "https://127.0.0.1:9")
    assert "refused" in one_line(paste(board, away), 1)


def test_a_board_for_which_the_hub_has_no_wheelhouse_is_told_what_there_is(hub: Hub, board: FakeBoard) -> None:
    said = one_line(paste(board, token(hub)["setup"], "--name", "pi-4-litert"), 1)
    assert said.startswith("no-wheelhouse: wanted pi-4-litert for Python 3.")
    assert "the hub has generic-x86_64-" in said
    assert board.files() == set()
