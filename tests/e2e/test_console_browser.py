"""The console in real Chromium: values change by themselves, nothing leaves the hub, both themes, 390 px, and the live
dot tells the truth when the hub goes away. Screenshots are kept under `build/screenshots/`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.unit.console.lab_fleet import PASSWORD, LabFleet, Parts, add_people, app_over, fill, stores

from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import InstallPhase, Reason
from sprat_device.contract.twin import InstallReport

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
expect.set_options(timeout=30_000)  # a bound, not a time: a machine may be busy
CHROMIUM = "/usr/bin/chromium"
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PAGES = {
    "fleet": "/", "devices": "/devices", "device": "/devices/pi-03", "releases": "/releases", "rollouts": "/rollouts",
    "rollout": "/rollouts/digits-3-lab", "audit": "/audit",
}  # fmt: skip
# Chromium's own traffic is none of the console's: what is left must go to the hub.
FLAGS = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-default-apps", "--disable-features=OptimizationHints,MediaRouter",
)  # fmt: skip


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Served:
    """A console on a port of loopback that can go away and come back."""

    parts: Parts
    fleet: LabFleet
    port: int = 0
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port), backlog=100)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            app_over(self.parts), log_config=None, lifespan="off", ws="websockets-sansio", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]})
        self._thread.start()

    def stop(self) -> None:
        assert self._server
        assert self._thread
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@dataclass
class Seen:
    """What a browser complained of and whom it asked."""

    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        page.on("websocket", lambda opened: self.asked.add(opened.url.split("/")[2]))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with stores(tmp_path, now_us) as parts:
        add_people(parts)
        console = Served(parts, fill(parts))
        console.start()
        yield console
        console.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not shutil.which(CHROMIUM):
        message = f"{CHROMIUM} is missing: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def signed_in(
    browser: Browser, served: Served, *, width: int = 1440, theme: str = "light"
) -> Iterator[tuple[Page, Seen]]:
    """A page of its own, signed in as operator."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=theme,  # type: ignore[arg-type]
    )
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    page.goto(f"{served.url}/login")
    page.fill("[name=name]", "operator")
    page.fill("[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(f"{served.url}/")
    yield page, seen
    context.close()


def live(page: Page) -> None:
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_every_page_in_both_themes_and_narrow(chromium: Browser, served: Served) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    for theme, width in (("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)):
        with signed_in(chromium, served, width=width, theme=theme) as (page, seen):
            for name, path in PAGES.items():
                page.goto(served.url + path)
                if name != "audit":
                    live(page)
                page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png", full_page=True)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{path} is {wide} px wide on a screen of {width}"
            background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert (background == "rgb(14, 18, 23)") == (theme == "dark")
        assert seen.complaints == []
        assert seen.asked == {f"127.0.0.1:{served.port}"}


def test_values_change_by_themselves(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served) as (page, seen):
        live(page)
        expect(page.locator(".tile").nth(2).locator(".big")).to_have_text("3")
        report = InstallReport(InstallPhase.REFUSED, 3, "", "lab", Reason.SIGNATURE, "<b>hostile</b>")
        served.fleet.report("pi-20", install=report)
        expect(page.locator(".tile").nth(2).locator(".big")).to_have_text("4")
        row = page.locator("#fleet-attention tr", has_text="signature")
        expect(row).to_contain_text("pi-20")
        expect(row).to_contain_text("<b>hostile</b>")
        page.goto(f"{served.url}/devices?q=pi-20")
        live(page)
        cell = page.locator("#devices-table tbody tr td").nth(5)
        # The count is of a window that slides while the test runs: a few readings may have left it.
        expect(cell).to_have_text(re.compile(r"3[4-7]\d"))
        served.fleet.writer.commit([served.fleet.predictions("pi-20", 2, now_us(), count=40)])
        expect(cell).to_have_text(re.compile(r"3[89]\d|4\d\d"))
        assert seen.complaints == []


def test_a_rollout_is_paused_by_its_button_and_seen_in_another_tab(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served) as (page, seen):
        other = page.context.new_page()
        for tab in (page, other):
            tab.goto(f"{served.url}/rollouts/digits-3-lab")
            live(tab)
        expect(page.get_by_role("button", name="Resume")).to_be_hidden()
        page.get_by_role("button", name="Pause").click()
        expect(other.locator("#rollout-phase")).to_contain_text("paused")
        expect(other.get_by_role("button", name="Resume")).to_be_visible()
        expect(other.get_by_role("button", name="Pause")).to_be_hidden()
        other.get_by_text("Abort…").click()
        expect(other.locator("#rollout-touches")).to_contain_text("from 6 devices")
        assert seen.complaints == []


def test_the_live_dot_tells_when_the_hub_is_gone_and_when_it_is_back(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served) as (page, _):
        live(page)
        served.stop()
        expect(page.locator("#live")).to_have_attribute("data-state", "reconnecting")
        served.fleet.parts.store.devices.presence(DeviceId("pi-30"), online=False, boot_id="b", now_us=now_us())
        served.start()
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        expect(page.locator("#fleet-attention tr", has_text="silent")).to_contain_text("pi-30")


def test_eight_tabs_stay_live_and_signing_out_ends_them_all(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served) as (page, _):
        tabs = [page, *(page.context.new_page() for _ in range(7))]
        for tab in tabs[1:]:
            tab.goto(served.url)
        for tab in tabs:
            live(tab)
        page.get_by_role("button", name="Sign out").click()
        for tab in tabs:
            tab.wait_for_url("**/login*")


def test_keys_lead_to_pages_and_to_the_search(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served) as (page, seen):
        page.keyboard.press("g")
        page.keyboard.press("d")
        page.wait_for_url("**/devices")
        page.keyboard.press("/")
        page.keyboard.type("lyon")
        page.keyboard.press("Enter")
        page.wait_for_url("**/devices?q=lyon**")
        expect(page.locator("#devices-found")).to_contain_text("8 of 40")
        page.locator("h1").click()
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        assert seen.complaints == []


def test_a_theme_chosen_by_hand_stays(chromium: Browser, served: Served) -> None:
    with signed_in(chromium, served, theme="light") as (page, _):
        page.locator("#theme").click()
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("Theme: dark")
        page.goto(f"{served.url}/releases")
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_pages_read_without_javascript(chromium: Browser, served: Served) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served.url}/devices")
    page.fill("[name=name]", "viewer")
    page.fill("[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(f"{served.url}/devices")
    expect(page.locator("#devices-table tbody tr")).to_have_count(25)
    expect(page.locator("#live")).to_have_text("not live")
    context.close()
