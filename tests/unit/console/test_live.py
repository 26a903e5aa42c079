"""The WebSocket: values that change, nothing that does not, and an end when the session ends."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from tests.unit.console.conftest import Lab
from tests.unit.console.lab_fleet import HOSTILE

from sprat.hub.console import live
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import InstallPhase, Reason
from sprat_device.contract.twin import InstallReport


def follow(client: TestClient, view: str) -> WebSocketTestSession:
    return client.websocket_connect(f"/live?view={view}")


def part(socket: WebSocketTestSession, name: str) -> str:
    """Wait for the next message that holds a part."""
    for _ in range(500):
        parts: dict[str, Any] = socket.receive_json()["parts"]
        if name in parts:
            return str(parts[name])
    raise AssertionError(f"no {name} in 500 ticks")


def test_a_refused_bundle_appears_by_itself(lab: Lab) -> None:
    with lab.signed_in() as client, follow(client, "/") as socket:
        assert "non-finite" not in part(socket, "fleet-attention")
        report = InstallReport(InstallPhase.REFUSED, 3, "", "lab", Reason.NON_FINITE, HOSTILE)
        lab.fleet.report("pi-20", install=report)
        lab.clock.forward(2)
        html = part(socket, "fleet-attention")
    assert "non-finite" in html
    assert "pi-20" in html
    assert "<script>" not in html


def test_new_predictions_change_the_numbers(lab: Lab) -> None:
    with lab.signed_in() as client, follow(client, "/devices/pi-20") as socket:
        before = part(socket, "device-ledger")
        lab.fleet.writer.commit([lab.fleet.predictions("pi-20", 2, lab.clock.us, count=111)])
        lab.clock.forward(5)
        after = part(socket, "device-ledger")
    assert ">360<" in before
    assert ">471<" in after


def test_what_did_not_change_is_not_sent(lab: Lab) -> None:
    with lab.signed_in() as client, follow(client, "/rollouts") as socket:
        assert set(socket.receive_json()["parts"]) == {"rollouts-list"}
        assert socket.receive_json()["parts"] == {}


def test_one_render_serves_all_viewers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with lab.signed_in() as client, follow(client, "/releases") as one, follow(client, "/releases") as two:
        assert part(one, "releases-list") == part(two, "releases-list")


def test_the_socket_closes_when_the_session_ends(lab: Lab) -> None:
    with lab.signed_in() as client, follow(client, "/") as socket:
        socket.receive_json()
        client.post("/logout", data={"csrf": lab.csrf(client)})
        with pytest.raises(WebSocketDisconnect) as closed:
            part(socket, "never")
    assert closed.value.code == live.SIGNED_OUT


def test_strangers_and_other_sites_get_nothing(lab: Lab) -> None:
    with pytest.raises(WebSocketDisconnect), follow(lab.client, "/"):
        pass
    client = lab.signed_in()
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/live?view=/", headers={"origin": "http://evil.example"}),
    ):
        pass


@pytest.mark.parametrize("view", ["/nowhere", "/api/devices", "/devices/a/b/c"])
def test_an_unknown_view_is_closed(lab: Lab, view: str) -> None:
    with lab.signed_in() as client, follow(client, view) as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    assert closed.value.code == live.UNKNOWN_VIEW


def test_a_failed_tick_does_not_end_the_ticking(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    store = lab.fleet.parts.store
    with lab.signed_in() as client, follow(client, "/") as socket:
        socket.receive_json()
        device = store.devices.get(DeviceId("pi-00"))
        assert device is not None
        lab.clock.forward(2)
        failures = iter([RuntimeError("disk")])
        kept = store.devices.all

        def once_broken(**more: bool) -> object:
            for failure in failures:
                raise failure
            return kept(**more)

        monkeypatch.setattr(type(store.devices), "all", lambda _self, **more: once_broken(**more))
        lab.clock.forward(2)
        socket.receive_json()
        store.devices.presence(DeviceId("pi-00"), online=False, boot_id="b", now_us=lab.clock.us)
        lab.clock.forward(2)
        assert "pi-00" in part(socket, "fleet-attention")
