"""Who may see and do what: sessions, roles, CSRF, Origin; default deny."""

from __future__ import annotations

import pytest
from tests.unit.console.conftest import ORIGIN, Lab

from sprat.hub.access import Public, declared, routes_of
from sprat.hub.console.routes import local_path
from sprat_device.contract.phases import RolloutPhase

ACT = "/rollouts/digits-3-lab/pause"


def test_every_route_declares_who_may_use_it(lab: Lab) -> None:
    routes = [route for route in routes_of(lab.client.app) if getattr(route, "path", "")]
    assert len(routes) > 10
    public = {route.path for route in routes if isinstance(declared(route), Public)}
    assert all(declared(route) is not None for route in routes)
    assert public == {"/login", "/assets/{name}"}


@pytest.mark.parametrize("page", ["/", "/devices", "/devices/pi-03", "/releases", "/rollouts", "/audit"])
def test_a_stranger_is_led_to_the_login(lab: Lab, page: str) -> None:
    answer = lab.client.get(page)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")


def test_a_wrong_password_is_said_to_be_wrong_and_too_many_close_the_door(lab: Lab) -> None:
    tries = [lab.client.post("/login", data={"name": "operator", "password": "no"}).status_code for _ in range(6)]
    assert tries == [401] * 5 + [429]


def test_the_session_cookie_is_out_of_reach_of_scripts(lab: Lab) -> None:
    answer = lab.client.post("/login", data={"name": "viewer", "password": "correct horse battery"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_a_login_form_of_another_site_is_refused(lab: Lab) -> None:
    data = {"name": "viewer", "password": "correct horse battery"}
    assert lab.client.post("/login", data=data, headers={"origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "/a\n"]
)
def test_a_login_never_leads_elsewhere(lab: Lab, wanted: str) -> None:
    assert local_path(wanted) == "/"
    data = {"name": "viewer", "password": "correct horse battery", "next": wanted}
    assert lab.client.post("/login", data=data).headers["location"] == "/"


def test_an_operator_pauses_and_it_is_written_down(lab: Lab) -> None:
    client = lab.signed_in()
    answer = client.post(ACT, data={"csrf": lab.csrf(client)})
    assert answer.status_code == 303
    rollout = lab.fleet.parts.rollouts.get("digits-3-lab")
    assert rollout is not None
    assert rollout.phase is RolloutPhase.PAUSED
    entry = lab.fleet.parts.store.audit.latest(1)[0]
    assert (entry.who, entry.action, entry.detail) == (
        "operator",
        "rollout.pause",
        {"before": "running", "after": "paused"},
    )


def test_changes_need_the_page_the_token_and_the_role(lab: Lab) -> None:
    operator, viewer = lab.signed_in(), lab.signed_in("viewer")
    token = lab.csrf(operator)
    assert operator.post(ACT).status_code == 403
    assert operator.post(ACT, data={"csrf": "guess"}).status_code == 403
    assert operator.post(ACT, data={"csrf": token}, headers={"origin": "http://evil.example"}).status_code == 403
    assert viewer.post(ACT, data={"csrf": lab.csrf(viewer)}).status_code == 403
    assert lab.client.post(ACT, data={"csrf": token}).status_code == 303  # to the login
    rollout = lab.fleet.parts.rollouts.get("digits-3-lab")
    assert rollout is not None
    assert rollout.phase is RolloutPhase.RUNNING


def test_abort_must_be_confirmed(lab: Lab) -> None:
    client = lab.signed_in()
    data = {"csrf": lab.csrf(client)}
    assert client.post("/rollouts/digits-3-lab/abort", data=data).status_code == 409
    assert client.post("/rollouts/digits-3-lab/abort", data=data | {"sure": "yes"}).status_code == 303
    assert client.post("/rollouts/digits-3-lab/burn", data=data).status_code == 409


def test_a_phase_that_forbids_it_is_said_on_a_page(lab: Lab) -> None:
    client = lab.signed_in()
    answer = client.post("/rollouts/digits-3-lab/resume", data={"csrf": lab.csrf(client)})
    assert answer.status_code == 409
    assert "<h1>Refused</h1>" in answer.text


def test_a_viewer_sees_no_buttons(lab: Lab) -> None:
    assert ACT in lab.signed_in().get("/rollouts/digits-3-lab").text
    assert ACT not in lab.signed_in("viewer").get("/rollouts/digits-3-lab").text


def test_logging_out_ends_the_session_at_the_server(lab: Lab) -> None:
    client = lab.signed_in()
    cookie = client.cookies["sprat_session"]
    assert client.post("/logout", data={"csrf": lab.csrf(client)}).status_code == 303
    client.cookies.set("sprat_session", cookie)
    assert client.get("/").status_code == 303


def test_assets_are_kept_for_ever_under_their_hash(lab: Lab) -> None:
    html = lab.client.get("/login").text
    style = html.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = lab.client.get(style)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert lab.client.get("/assets/../routes.py").status_code == 404
    assert ORIGIN not in html
