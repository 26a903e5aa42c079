"""What a hub gives to boards without an agent: who may have it, which files, and the line that is printed."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.hubs import Applicant, TestHub
from tests.unit.hub.test_api import Through

from sprat.cli import main
from sprat.client import HubClient
from sprat.errors import Refused
from sprat.hub.app import console_app, device_app
from sprat.hub.services import revoke
from sprat_device.contract.ids import DeviceId, Digest, ModelName
from sprat_device.contract.wheelhouse import HOUSES_PATH, MANIFEST, HouseFile, Wheelhouse, parse_list

AGENT = b"not really a wheel"


@pytest.fixture
def port(hub: TestHub) -> Iterator[TestClient]:
    with TestClient(device_app(hub.services)) as client:
        yield client


def build(hub: TestHub, name: str = "pi-4-litert", agent: bytes = AGENT) -> Wheelhouse:
    """Put a small wheelhouse into the hub's folder."""
    content = {
        "install.sh": b"exit 1\n",
        "wheels/sprat_device-0.1.0-py3-none-any.whl": agent,
        "wheels/pip-26.3-py3-none-any.whl": b"pip",
    }
    files = tuple(HouseFile(n, Digest(hashlib.sha256(data).hexdigest()), len(data)) for n, data in content.items())
    house = Wheelhouse(ModelName(name), "pi-4", ("aarch64",), "3.11", "litert", "0.1.0", files)
    folder = hub.services.folder.wheelhouses / name
    (folder / "wheels").mkdir(parents=True)
    for file, data in {**content, MANIFEST: house.dump()}.items():
        (folder / file).write_bytes(data)
    return house


def client_of(hub: TestHub, http: TestClient) -> HubClient:
    return HubClient("http://testserver", hub.admin_token, transport=Through(http))


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_token_opens_wheelhouses_until_its_time_is_over_used_or_not(hub: TestHub, port: TestClient) -> None:
    house, secret = build(hub), hub.enrol_token("d1").secret
    assert port.get(HOUSES_PATH).status_code == 401
    assert port.get(HOUSES_PATH, headers=bearer("another")).status_code == 401
    assert parse_list(port.get(HOUSES_PATH, headers=bearer(secret)).content) == (house,)
    hub.services.enrolment.enrol(Applicant().request(secret))
    got = port.get(f"{HOUSES_PATH}/{house.name}/{house.agent_wheel.name}", headers=bearer(secret))
    assert got.content == AGENT
    hub.clock.advance(3601)
    answer = port.get(HOUSES_PATH, headers=bearer(secret))
    assert answer.status_code == 401
    assert "expired; make another" in answer.json()["error"]["message"]


def test_one_that_is_being_built_again_hides_none_of_the_others(
    hub: TestHub, port: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(hub, "pi-5-litert")
    house, secret, listed = build(hub), hub.enrol_token().secret, Path.glob

    def then_gone(folder: Path, pattern: str) -> Iterator[Path]:
        found = list(listed(folder, pattern))
        shutil.rmtree(folder / "pi-5-litert")  # between the two renames of a build
        return iter(found)

    monkeypatch.setattr(Path, "glob", then_gone)
    answer = port.get(HOUSES_PATH, headers=bearer(secret))
    assert parse_list(answer.content) == (house,)


def test_only_what_a_manifest_lists_is_given(hub: TestHub, port: TestClient) -> None:
    house, secret = build(hub), hub.enrol_token().secret
    (hub.services.folder.wheelhouses / house.name / "notes.txt").write_text("mine")
    for wanted in (MANIFEST, "install.sh"):
        assert port.get(f"{HOUSES_PATH}/{house.name}/{wanted}", headers=bearer(secret)).status_code == 200
    for path in (
        f"{house.name}/notes.txt", f"{house.name}/../../fleet.db", f"{house.name}/%2e%2e/%2e%2e/fleet.db",
        "other/manifest.json", "../keys/ca.key", f"{house.name}/wheels",
    ):  # fmt: skip
        assert port.get(f"{HOUSES_PATH}/{path}", headers=bearer(secret)).status_code == 404, path


def test_the_agent_is_given_to_who_knows_its_digest(hub: TestHub, port: TestClient) -> None:
    house = build(hub)
    assert port.get(f"/v1/agent/{house.agent_wheel.sha256}").content == AGENT
    for other in ("0" * 64, "..%2ffleet.db", "A" * 64):
        assert port.get(f"/v1/agent/{other}").status_code == 404


def test_a_folder_that_is_no_wheelhouse_is_left_out(
    hub: TestHub, port: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    house, secret = build(hub), hub.enrol_token().secret
    build(hub, "damaged")
    (hub.services.folder.wheelhouses / "damaged" / MANIFEST).write_text("{")
    copied = build(hub, "copied")
    (hub.services.folder.wheelhouses / "copied").rename(hub.services.folder.wheelhouses / "renamed")
    assert parse_list(port.get(HOUSES_PATH, headers=bearer(secret)).content) == (house,)
    assert "manifest.json is not JSON" in caplog.text
    assert f"its name is {copied.name}" in caplog.text


def test_a_token_comes_with_the_line_for_a_fresh_board(
    hub: TestHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with TestClient(console_app(hub.services)) as http:
        client = client_of(hub, http)
        nowhere = client.make_token(["digits"], channel="canary")
        assert (nowhere["hub"], nowhere["setup"], nowhere["setup_offline"]) == ("", "", "")
        hub.services.folder.run_file.write_text(json.dumps({"device_url": "https://hub.test:8443"}))
        without = client.make_token(["digits"], channel="canary")
        assert without["setup"] == ""
        assert shlex.split(without["setup_offline"]) == [
            "sudo", "sh", "WHEELHOUSE/install.sh", "--hub", "https://hub.test:8443", "--token", without["token"],
        ]  # fmt: skip
        house = build(hub)
        made = client.make_token(["digits"], channel="canary")
        line = shlex.split(made["setup"])
        assert "\n" not in made["setup"]
        assert line[:4] == ["sudo", "python3", "-I", "-c"]
        compile(line[4], "line", "exec")
        assert line[5:] == ["https://hub.test:8443", house.agent_wheel.sha256, "--token", made["token"]]

        monkeypatch.setattr("sprat.cli.enrol.connect", lambda _hub: client_of(hub, http))
        assert main(["enrol", "token", "--model", "digits", "--channel", "canary"]) == 0
        shown = capsys.readouterr().out
        assert "devices reach this hub at https://hub.test:8443" in shown
        assert f"sudo python3 -I -c '{line[4]}'" in shown
        assert main(["enrol", "token", "--model", "digits", "--channel", "canary", "--json"]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["setup"].startswith("sudo python3 -I -c ")


def test_replace_keeps_what_the_lost_board_was_and_puts_it_out(
    hub: TestHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add_device("kitchen", room="kitchen")
    with TestClient(console_app(hub.services)) as http:
        client = client_of(hub, http)
        monkeypatch.setattr("sprat.cli.enrol.connect", lambda _hub: client_of(hub, http))
        assert main(["enrol", "replace", "kitchen", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["device"], made["channel"], made["models"]) == ("kitchen", "canary", ["digits"])
        assert client.tokens()[0]["labels"] == {"room": "kitchen"}
        found = hub.services.store.devices.get(DeviceId("kitchen"))
        assert found is not None
        assert found.revoked_us
        assert main(["enrol", "replace", "kitchen", "--json"]) == 0, "once more gives another token"


def test_an_id_that_belonged_to_a_device_needs_a_token_of_its_own(hub: TestHub) -> None:
    hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("kitchen").secret))
    revoke(hub.services, DeviceId("kitchen"), "ann")
    with pytest.raises(Refused, match=r"id-was-used: .* sprat enrol replace kitchen"):
        hub.services.enrolment.enrol(Applicant().request(hub.enrol_token().secret, "kitchen"))
    with pytest.raises(Refused, match="token-bound"):
        hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("cellar").secret, "kitchen"))
    assert hub.services.enrolment.enrol(Applicant().request(hub.enrol_token("kitchen").secret, "kitchen")).returned
