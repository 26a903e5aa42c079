"""The README's first command: the whole story, its figures, and the console that it leaves open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("demo")]


@dataclass
class Told:
    document: dict[str, Any]
    process: subprocess.Popen[str]
    folder: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Run `scripts/demo --json` as a user would and read its document; the console stays open until the tests end."""
    folder = tmp_path_factory.mktemp("demo") / "stage"
    with subprocess.Popen(
        [ROOT / "scripts" / "demo", "--json", "--dir", folder],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE if not os.environ.get("CI") else None,
        text=True, stdin=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Told(_read_document(process), process, folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)


def _read_document(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            found: dict[str, Any] = json.loads("".join(lines))
            return found
    raise AssertionError(f"the demo ended with {process.wait()} before its document: {''.join(lines)[-2000:]}")


def test_every_figure_is_as_expected(told: Told) -> None:
    wrong = [f for f in told.document["figures"] if not f["ok"]]
    assert wrong == []
    assert told.document["ok"] is True


def test_every_chapter_left_figures(told: Told) -> None:
    assert {f["chapter"] for f in told.document["figures"]} == set("abcdefg")


def test_the_console_shows_what_happened(told: Told) -> None:
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    login = told.document["login"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(told.document["console"])
        page.fill("input[name=name]", login["name"])
        page.fill("input[name=password]", login["password"])
        page.click("button.main")
        page.wait_for_selector("#live[data-state=live]")
        page.wait_for_timeout(2500)
        page.screenshot(path=SCREENSHOTS / "demo-fleet.png", full_page=True)
        for name, path in (
            ("devices", "/devices"),
            ("device", "/devices/shoal-3"),
            ("rollouts", "/rollouts"),
            ("releases", "/releases"),
        ):
            page.goto(told.document["console"] + path)
            page.wait_for_timeout(1500)
            page.screenshot(path=SCREENSHOTS / f"demo-{name}.png", full_page=True)
        forged = next(f["what"].split()[1] for f in told.document["figures"] if f["value"] == "aborted")
        page.goto(f"{told.document['console']}/rollouts/{forged}")
        page.wait_for_timeout(1500)
        page.screenshot(path=SCREENSHOTS / "demo-forged.png", full_page=True)
        assert "hash-mismatch" in page.content()
        assert said == []
        browser.close()


def test_it_ends_cleanly_when_interrupted(told: Told) -> None:
    pids = json.loads((told.folder / "hub" / "run.json").read_text())
    os.killpg(told.process.pid, signal.SIGINT)
    assert told.process.wait(60) in (0, 130)
    assert not Path(f"/proc/{pids['pid']}").exists()
