"""`sprat fleet` against a hub: what a device refuses of a wish, and its last errors, are told to who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.hubs import TestHub
from tests.unit.hub.test_api import Through

from sprat import cli
from sprat.cli import fleet
from sprat.client import HubClient
from sprat.hub.app import console_app
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.last_errors import REMEDIES, LastError
from sprat_device.contract.twin import Reported

DEVICE = DeviceId("kitchen")
WHY = "remote.inputs is off on this device; its owner allows it by [remote] inputs = true in sprat.toml, and a reload"


@pytest.fixture(autouse=True)
def reached(hub: TestHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the command reach this hub, in which there is one device."""
    hub.add_device(DEVICE)
    with TestClient(console_app(hub.services), follow_redirects=False) as http:
        made = lambda _hub: HubClient("http://testserver", hub.admin_token, transport=Through(http))  # noqa: E731
        monkeypatch.setattr(fleet, "connect", made)
        monkeypatch.setattr(fleet, "_ANSWERS_S", 0.0)
        yield


def answers(hub: TestHub, **told: object) -> None:
    """Let the device be online, and have answered already."""
    store = hub.services.store
    with store.transaction():
        store.devices.presence(DEVICE, online=True, boot_id="", now_us=hub.clock())
    reported = Reported(3, store.incarnation(), 99, **told)  # type: ignore[arg-type]
    store.reported.put(DEVICE, reported, hub.clock())


def test_a_wish_that_the_device_refuses_is_told_with_its_remedy(
    hub: TestHub, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(hub, refused={"inputs": WHY, "shadows": "shadow.enabled is off"})
    assert cli.main(["fleet", "set", DEVICE, "--input", "door=off"]) == 1
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", f"sprat: refused-by-device: kitchen: inputs: {WHY}\n")
    assert cli.main(["fleet", "set", DEVICE, "--input", "door=off", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["applied"], document["refused"]) == (True, {"inputs": WHY})
    assert cli.main(["fleet", "set", DEVICE, "--detail", "summary"]) == 0  # which it follows
    assert capsys.readouterr().out.endswith(", applied\n")
    assert cli.main(["fleet", "show", DEVICE]) == 0
    assert f"  the wish for inputs is refused: {WHY}\n" in capsys.readouterr().out


def test_a_device_that_has_not_answered_is_said_to_follow_later(
    hub: TestHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fleet", "set", DEVICE, "--input", "door=off"]) == 0
    assert "the device has not answered yet; it follows when it is connected" in capsys.readouterr().out
    answers(hub, refused={"inputs": WHY})
    hub.services.store.reported.put(DEVICE, Reported(4, "another store", 99), hub.clock())
    assert cli.main(["fleet", "set", DEVICE, "--input", "door=on"]) == 0
    assert "has not answered yet" in capsys.readouterr().out


def test_the_last_errors_of_a_device_are_shown_with_remedies(hub: TestHub, capsys: pytest.CaptureFixture[str]) -> None:
    failed = LastError("sink-failed", "door", "no route", 3, 1, 2)
    answers(hub, errors=(failed, LastError("a-later-code", "", "", 1, 1, 1)))
    assert cli.main(["fleet", "show", DEVICE]) == 0
    shown = capsys.readouterr().out.splitlines()
    at = shown.index("  last errors, the newest first:")
    assert shown[at + 1].startswith("    sink-failed at door, 3 times, last ")
    assert shown[at + 1].endswith(" d ago: no route")
    assert shown[at + 2] == f"      {REMEDIES['sink-failed']}"
    assert shown[at + 3].startswith("    a-later-code, once, ")
    assert len(shown) == at + 4
