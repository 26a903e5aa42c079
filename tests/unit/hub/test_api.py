"""The API through its own client, without sockets: what goes in comes out, and refusals keep their family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from tests.hubs import Applicant, FoundedHub, TestHub, found_hub, open_hub
from tests.samples import bundle, no_passphrase

from sprat.client import HubClient
from sprat.errors import HubUnreachable, Refused, WrongUse
from sprat.hub.app import console_app
from sprat.hub.store.rows import Role
from sprat.publish.keys import KeyFolder
from sprat.publish.repository import Prepared, prepare_release, prepare_withdrawal
from sprat_device.contract import maintenance
from sprat_device.contract.enrolment import parse_token
from sprat_device.contract.ids import Channel, DeviceId
from sprat_device.contract.twin import InputMode, Reported, parse_desired


class Through(httpx.BaseTransport):
    """Hands requests to the app instead of a socket."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._client.request(
            request.method, str(request.url), content=request.read(), headers=list(request.headers.items())
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def http(hub: TestHub) -> Iterator[TestClient]:
    with TestClient(console_app(hub.services), follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(hub: TestHub, http: TestClient) -> Iterator[HubClient]:
    with HubClient("http://testserver", hub.admin_token, transport=Through(http)) as made:
        yield made


@pytest.fixture
def keys(founded: FoundedHub) -> KeyFolder:
    return KeyFolder.load(founded.keys)


def prepared(client: HubClient, keys: KeyFolder, file: Path, *, channel: str = "canary") -> Prepared:
    return prepare_release(
        client.role(channel), [(file, {})], channel=Channel(channel), release_seq=client.next_release_seq("digits"),
        signers=keys.signers(channel, passphrase=no_passphrase), now=datetime.now(UTC),
    )  # fmt: skip


def publish(client: HubClient, keys: KeyFolder, file: Path) -> list[dict[str, object]]:
    ready = prepared(client, keys, file)
    measured = {path: {"latency_us": {"p50": 3}} for path in ready.files}
    return client.publish(ready.channel, ready.role, ready.files, measured)


def test_the_hub_tells_of_itself(client: HubClient) -> None:
    told = client.status()
    assert told["broker"]["kind"] == "remembering"
    assert told["signing_root"] is True
    assert told["names"][0] == "hub.test"


def test_a_token_for_a_channel_that_is_not_there_is_refused(client: HubClient) -> None:
    with pytest.raises(WrongUse, match="channel 'canery': this hub has canary"):
        client.make_token(["digits"], channel="canery")


def test_a_token_made_over_the_api_is_one_that_the_hub_takes(hub: TestHub, client: HubClient) -> None:
    made = client.make_token(["digits"], channel="canary", device="d1", labels={"room": "kitchen"})
    token = parse_token(made["token"])
    assert token.ca_sha256 == hub.services.enrolment.authority.sha256
    assert token.root_sha256 == hub.services.releases.root_sha256()
    device = hub.services.enrolment.enrol(Applicant().request(token.secret)).device
    assert (device.id, dict(device.labels), device.models) == ("d1", {"room": "kitchen"}, ("digits",))
    (listed,) = client.tokens()
    assert listed["used_by"] == "d1"
    assert token.secret not in json.dumps(client.tokens()) + json.dumps(client.audit())


def test_no_tokens_before_there_is_a_signing_root(tmp_path: Path) -> None:
    with open_hub(found_hub(tmp_path, signed=False)) as hub, TestClient(console_app(hub.services)) as http:
        client = HubClient("http://testserver", hub.admin_token, transport=Through(http))
        with pytest.raises(Refused, match="sprat keys init --hub"):
            client.make_token(["digits"], channel="canary")
        with pytest.raises(Refused, match="no-signing-root"):
            client.role("canary")


def test_devices_are_listed_with_both_twins(hub: TestHub, client: HubClient) -> None:
    for name, room in (("d1", "kitchen"), ("d2", "hall")):
        hub.add_device(name, room=room)
    hub.services.store.reported.put(DeviceId("d1"), Reported(3, agent="0.1.0"), hub.clock())
    client.set_settings("d1", detail="summary")
    assert [d["id"] for d in client.devices()] == ["d1", "d2"]
    assert [d["id"] for d in client.devices(labels={"room": "hall"})] == ["d2"]
    assert client.devices(online=True) == []
    told = client.device("d1")
    assert told["reported"]["version"] == 3
    assert told["desired"]["telemetry"]["detail"] == "summary"
    assert client.device("d2")["reported"] is None


def test_hours_are_asked_for_checked_and_written_down(hub: TestHub, client: HubClient) -> None:
    hub.add_device("d1")
    after = client.set_maintenance("d1", windows=["mon-fri 02:00-05:00"], utc_offset="+01:00")
    assert (
        maintenance.parse(after["maintenance"]).windows
        == maintenance.of_texts(["mon-fri 02:00-05:00"], [], "+01:00").windows
    )
    sent = parse_desired(hub.sent[-1][1])
    assert sent.maintenance == after["maintenance"]
    client.set_settings("d1", detail="summary")
    assert client.device("d1")["desired"]["maintenance"] == after["maintenance"]
    entry = client.audit(2)[1]
    assert (entry["who"], entry["action"]) == ("admin", "device.maintenance")
    with pytest.raises(WrongUse, match="expected days and times"):
        client.set_maintenance("d1", windows=["at night"])
    assert client.set_maintenance("d1")["maintenance"] == {}


def test_inputs_are_switched_and_given_back(hub: TestHub, client: HubClient) -> None:
    hub.add_device("d1")
    client.set_settings("d1", log_level="debug", inputs={"digits": "off", "digits/door": "on"})
    sent = parse_desired(hub.sent[-1][1])
    assert sent.inputs == {"digits": InputMode.OFF, "digits/door": InputMode.ON}
    client.set_settings("d1")
    assert parse_desired(hub.sent[-1][1]).inputs == {}
    with pytest.raises(WrongUse):
        client.set_settings("d1", inputs={"digits": "sometimes"})


def test_labels_are_replaced_and_written_down(hub: TestHub, client: HubClient) -> None:
    hub.add_device("d1", room="kitchen")
    assert client.set_labels("d1", {"room": "hall"}) == {"room": "hall"}
    entry = client.audit(1)[0]
    assert (entry["who"], entry["action"]) == ("admin", "device.labels")
    assert entry["detail"] == {"before": {"room": "kitchen"}, "after": {"room": "hall"}}
    with pytest.raises(WrongUse, match="printable"):
        client.set_labels("d1", {"a\nb": "c"})


def test_revoking_over_the_api_acts(hub: TestHub, client: HubClient) -> None:
    hub.add_device("d1")
    client.revoke("d1")
    assert hub.broker.refused == [("d1",)]
    assert client.devices() == []
    assert [d["id"] for d in client.devices(revoked=True)] == ["d1"]


def test_a_release_goes_in_and_is_listed(hub: TestHub, client: HubClient, keys: KeyFolder, tmp_path: Path) -> None:
    (new,) = publish(client, keys, bundle(tmp_path / "one.sprat"))
    assert (new["model"], new["release_seq"], new["channel"], new["target"]) == ("digits", 1, "canary", "generic")
    assert new["measured"] == {"latency_us": {"p50": 3}}
    (listed,) = client.releases(model="digits")
    assert listed["bundle"] == new["bundle"]
    assert listed["manifest"]["artifact"]["format"] == "tflite"
    assert client.releases(model="other") == []
    assert list(hub.services.folder.uploads.iterdir()) == []
    assert client.audit(1)[0]["action"] == "release.accept"


def test_a_withdrawn_release_is_told_as_such(hub: TestHub, client: HubClient, keys: KeyFolder, tmp_path: Path) -> None:
    publish(client, keys, bundle(tmp_path / "one.sprat"))
    signers = keys.signers("canary", passphrase=no_passphrase)
    gone = prepare_withdrawal(
        client.role("canary"), channel=Channel("canary"), model="digits", release_seq=1, signers=signers,
        now=datetime.now(UTC),
    )  # fmt: skip
    assert client.publish("canary", gone.role, {}, {}) == []
    assert client.releases()[0]["withdrawn_us"] == hub.clock()


def test_a_hub_killed_between_repository_and_store_catches_up(
    hub: TestHub, client: HubClient, keys: KeyFolder, tmp_path: Path
) -> None:
    ready = prepared(client, keys, bundle(tmp_path / "one.sprat"))
    hub.services.releases.repository.accept(ready.channel, ready.role, ready.files)
    assert client.releases() == []
    hub.services.releases.follow()
    assert [r["release_seq"] for r in client.releases()] == [1]
    hub.services.releases.follow()
    assert [r["release_seq"] for r in client.releases()] == [1]


def test_a_bundle_other_than_the_signed_one_is_refused(client: HubClient, keys: KeyFolder, tmp_path: Path) -> None:
    file = bundle(tmp_path / "one.sprat")
    ready = prepared(client, keys, file)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused, match="hash-mismatch"):
        client.publish(ready.channel, ready.role, ready.files, {})
    assert client.releases() == []


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"channel": (None, "canary"), "role": ("r", b"{}")},
        {"channel": (None, "canary"), "measured": (None, "{}")},
        {"channel": (None, "canary"), "role": ("r", b"{}"), "measured": (None, "[]")},
        {"channel": (None, "canary"), "role": ("r", b"not json"), "measured": (None, "{}")},
        {"channel": (None, "../x"), "role": ("r", b"{}"), "measured": (None, "{}")},
        {"channel": (None, "canary"), "role": ("r", b"{}"), "measured": (None, "{}"), "bundle": (None, "text")},
    ],
)
def test_a_crooked_upload_is_wrong_use(hub: TestHub, http: TestClient, parts: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {hub.admin_token}"}
    answer = http.post("/api/releases", files=parts or {"x": (None, "y")}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_repository_is_founded_once(client: HubClient) -> None:
    with pytest.raises(WrongUse, match="holds a repository already"):
        client.found_repository({"1.root.json": b"{}"})


def test_rollouts_of_a_release(hub: TestHub, client: HubClient, keys: KeyFolder, tmp_path: Path) -> None:
    publish(client, keys, bundle(tmp_path / "one.sprat"))
    hub.add_device("d1")
    spec = {"model": "digits", "release_seq": 1, "channel": "canary", "cohort": {"all": True}}
    assert [p["device"] for p in client.plan_rollout(spec)] == ["d1"]
    draft = client.create_rollout(spec)
    started = client.act_on_rollout(draft["id"], "start")
    assert started["phase"] == "running"
    assert [d["device"] for d in started["devices"]] == ["d1"]
    assert started["devices"][0]["healthy"] == 0
    paused = client.act_on_rollout(draft["id"], "pause")
    assert paused["phase"] == "paused"
    assert client.rollout(draft["id"])["log"]
    assert [r["id"] for r in client.rollouts()] == [draft["id"]]
    assert client.audit(1)[0]["detail"] == {"before": "running", "after": "paused"}
    with pytest.raises(Refused):
        client.act_on_rollout(draft["id"], "start")
    with pytest.raises(WrongUse, match="does not exist"):
        client.rollout("none")
    with pytest.raises(WrongUse, match="unknown key"):
        client.create_rollout(spec | {"colour": "red"})
    with pytest.raises(Refused, match="not-listed"):
        client.create_rollout(spec | {"release_seq": 9})


def test_a_device_that_sent_nothing_has_no_telemetry(hub: TestHub, client: HubClient) -> None:
    hub.add_device("d1")
    assert client.predictions("d1", "digits") == []
    assert client.ledger("d1") == {}
    assert client.events("d1") == []
    with pytest.raises(WrongUse, match="not in the fleet"):
        client.predictions("ghost")


@pytest.mark.parametrize("device", ["ghost", "../hub", "a/b", "%2e", "ü"])
def test_an_unknown_device_is_wrong_use(client: HubClient, device: str) -> None:
    with pytest.raises(WrongUse):
        client.device(device)


def test_a_wrong_token_says_what_to_set(http: TestClient) -> None:
    with HubClient("http://testserver", "wrong", transport=Through(http)) as client, pytest.raises(Refused) as caught:
        client.devices()
    assert "SPRAT_TOKEN" in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_role_that_is_too_low_says_which_is_needed(hub: TestHub, http: TestClient) -> None:
    client = HubClient("http://testserver", hub.token(Role.VIEWER), transport=Through(http))
    with client, pytest.raises(Refused, match="viewer is viewer, this needs operator"):
        client.make_token(["digits"], channel="canary")


def test_what_is_no_hub_is_unreachable() -> None:
    def pretend(status: int, content: bytes) -> HubClient:
        answer = httpx.MockTransport(lambda _request: httpx.Response(status, content=content))
        return HubClient("http://elsewhere", "t", transport=answer)

    for status, content in ((200, b"<html>"), (200, b"[]"), (404, b"<html>"), (502, b""), (503, b'{"error": 5}')):
        with pretend(status, content) as client, pytest.raises(HubUnreachable, match="elsewhere"):
            client.status()


def test_no_answer_is_unreachable() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    client = HubClient("http://elsewhere", "t", transport=httpx.MockTransport(fail))
    with client, pytest.raises(HubUnreachable, match="does it run") as caught:
        client.status()
    assert caught.value.exit_code == 3


def test_an_address_without_a_scheme_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="http://HOST:PORT"):
        HubClient("localhost:8080", "t")
