"""Pages by TestClient: what they say, and that nothing a device told can become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from tests.unit.console.conftest import Lab, browser
from tests.unit.console.lab_fleet import HOSTILE, PASSWORD, app_over

from sprat_device.contract import records, summary
from sprat_device.contract.phases import InstallPhase, Lane
from sprat_device.contract.twin import InstallReport, ShadowReport

PAGES = ("/", "/devices", "/devices/pi-03", "/releases", "/rollouts", "/rollouts/digits-3-lab", "/audit")


class Markup(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("page", PAGES)
def test_nothing_inline_and_nothing_from_elsewhere(lab: Lab, page: str) -> None:
    answer = lab.signed_in().get(page)
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    for tag, attributes in Markup(answer.text).tags:
        assert tag != "style"
        assert not any(name == "style" or name.startswith("on") for name in attributes), (tag, attributes)
        assert tag != "script" or (attributes["src"] or "").startswith("/assets/")
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)


@pytest.mark.parametrize("page", ["/", "/devices", "/devices/pi-03"])
def test_what_a_device_says_stays_text(lab: Lab, page: str) -> None:
    html = lab.signed_in().get(page).text
    assert HOSTILE not in html
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_fleet_page_says_what_is_wrong_and_why(lab: Lab) -> None:
    text = " ".join(Markup(lab.signed_in().get("/").text).text.split())
    assert "7 of 40 devices need attention" in text
    assert "golden-mismatch digits refused 3: This device computes other answers than the build did." in text
    assert "hash-mismatch digits refused 3: The bytes that arrived are not the bytes that were signed." in text
    assert "found 3f9a11c2, signed 77e0b812" in text
    assert "release 3 11" in text
    assert "release 2 28" in text
    assert "≥ 0.2 shift" in text


def test_the_device_page_shows_twin_slots_and_ledger(lab: Lab) -> None:
    refused = " ".join(Markup(lab.signed_in().get("/devices/pi-04").text).text.split())
    assert "refused release 3, attempt 2" in refused
    assert "differs" in refused
    assert "balances" in refused
    assert "does not balance" not in refused
    unbalanced = Markup(lab.signed_in().get("/devices/pi-07").text).text
    assert "does not balance" in unbalanced


def test_the_device_page_tells_what_holds_the_board_back(lab: Lab) -> None:
    at_us = lab.clock.us
    row = records.Row(
        summary.HEALTH_CODE, at_us, at_us, {"power_now": "undervoltage,throttled", "power_since_boot": ""}
    )
    lab.fleet.writer.commit([lab.fleet.frames("pi-20", Lane.SUMMARIES, records.encode_rows([row]), 1, at_us)])
    lab.clock.forward(5)
    page = Markup(lab.signed_in().get("/devices/pi-20").text)
    assert "undervoltage,throttled" in page.text
    assert "Look at the power supply" in page.text


def test_the_device_page_shows_how_a_shadow_does(lab: Lab) -> None:
    checked = InstallReport(InstallPhase.CHECKED, 4, "cd" * 32)

    def shown(shadow: ShadowReport) -> str:
        lab.fleet.report("pi-20", shadow=shadow)
        lab.clock.forward(10)  # a page is kept for a moment
        return " ".join(Markup(lab.signed_in().get("/devices/pi-20").text).text.split())

    running = shown(ShadowReport(checked, "running", "cd" * 32, "onnx", 1500, 1477, 1))
    assert "digits, shadow 4 · cdcdcdcdcdcd beside checked running" in running
    assert re.search(r"1.477 of 1.500 agree", running)  # whatever stands between the thousands
    gone = shown(ShadowReport(checked, "given-up", "", f"hung: no answer within 30 s {HOSTILE}"))
    assert "hung: no answer within 30 s" in gone
    refused = shown(ShadowReport(InstallReport(InstallPhase.REFUSED, 4, "cd" * 32, "", "golden-mismatch", "3 off")))
    assert "This device computes other answers than the build did." in refused


def test_releases_show_what_is_signed_and_measured(lab: Lab) -> None:
    text = " ".join(Markup(lab.signed_in().get("/releases").text).text.split())
    assert (
        "generic-x86_64 canary tflite int8 litert ≥ 2.0, tflite ≥ 2.14 accuracy 0.9752 23.5 KiB 5.1 MiB ✓ 8f2a63b1"
        in text
    )
    assert "on 11 devices" in text


def test_a_rollout_shows_waves_gates_and_reasons(lab: Lab) -> None:
    text = " ".join(Markup(lab.signed_in().get("/rollouts/digits-3-lab").text).text.split())
    assert "wave 3 · to 40 % now 7 / 12 · 1 failed" in text
    assert "12.5 % ≤ 20.0 % holds" in text
    assert "≤ 1.50 \N{MULTIPLICATION SIGN} nothing to measure yet" in text
    assert "pi-03 2 failed refused golden-mismatch" in text
    assert "Takes the offer back from 6 devices not done yet; the 10 that are done keep the release." in text


def test_a_rollout_whose_devices_a_newer_one_took_says_so(lab: Lab) -> None:
    text = " ".join(Markup(lab.signed_in().get("/rollouts/digits-2-lab").text).text.split())
    assert "wave 1 · to 100 % 23 / 39 · 16 taken over by a newer rollout" in text


def test_every_empty_page_says_what_to_do_next(empty: Lab) -> None:
    client = empty.signed_in()
    assert "sprat enrol token" in client.get("/").text
    assert "sprat enrol token" in client.get("/devices").text
    assert "sprat release" in client.get("/releases").text
    assert "sprat rollout start" in client.get("/rollouts").text


@pytest.mark.parametrize("page", ["/devices/nobody", "/rollouts/nothing"])
def test_what_does_not_exist_is_said_to_be_so(lab: Lab, page: str) -> None:
    answer = lab.signed_in().get(page)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text


def test_search_filter_and_sort_stand_in_the_address(lab: Lab) -> None:
    client = lab.signed_in()
    text = Markup(client.get("/devices?q=lyon+pi-0&sort=-device").text).text
    assert text.index("pi-08") < text.index("pi-03")
    assert "pi-01" not in text
    degraded = Markup(client.get("/devices?state=degraded").text).text
    assert [name in degraded for name in ("pi-03", "pi-04", "pi-07", "pi-01")] == [True, True, True, False]
    assert "No device matches" in client.get("/devices?q=zzz").text
    assert "40" in client.get("/devices?page=99999999&sort=nonsense&state=%22%3E").text


def test_the_page_of_a_shared_address_names_its_neighbours(lab: Lab) -> None:
    html = lab.signed_in().get("/devices?sort=seen").text
    assert 'href="/devices?sort=seen&amp;page=2" rel="next"' in html


def test_a_hub_that_must_not_be_trusted_says_so_on_every_page(lab: Lab) -> None:
    warned = browser(app_over(lab.fleet.parts, warning="demo broker: it knows no rights; install mosquitto"))
    warned.post("/login", data={"name": "viewer", "password": PASSWORD})
    plain = lab.signed_in("viewer")
    for page in PAGES:
        assert "Demo broker: it knows no rights; install mosquitto." in Markup(warned.get(page).text).text
        assert "Demo broker" not in plain.get(page).text
