"""Default deny: every route of both ports says who may use it, and keeps to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.hubs import TestHub

from sprat.hub.access import COOKIE, Public, Require, RequireDevice, declared, require_declared, routes_of
from sprat.hub.app import console_app, device_app
from sprat.hub.http import BODY_LIMIT
from sprat.hub.store.rows import Role

OPEN_TO_ALL = {
    "GET /login", "POST /login", "POST /api/session", "GET /assets/{name}",
    "GET /v1/ca.pem", "GET /v1/root.json", "POST /v1/enrol", "GET /v1/agent/{sha256}",
}  # fmt: skip
ORIGIN = {"origin": "http://testserver"}


@pytest.fixture
def console(hub: TestHub) -> Iterator[TestClient]:
    with TestClient(console_app(hub.services), follow_redirects=False) as client:
        yield client


@pytest.fixture
def device_port(hub: TestHub) -> Iterator[TestClient]:
    with TestClient(device_app(hub.services)) as client:
        yield client


def path_of(route: APIRoute | APIWebSocketRoute) -> str:
    return re.sub(r"\{[^}]*\}", "x", route.path)


def log_in(console: TestClient, hub: TestHub) -> str:
    answer = console.post("/api/session", json={"name": "admin", "password": hub.password})
    assert answer.status_code == 200
    return str(answer.json()["csrf"])


@pytest.mark.parametrize("port", ["console", "device_port"])
def test_every_route_refuses_whom_it_does_not_know(port: str, request: pytest.FixtureRequest) -> None:
    client: TestClient = request.getfixturevalue(port)
    walked = 0
    assert isinstance(client.app, FastAPI)
    for route in routes_of(client.app):
        assert isinstance(route, APIRoute | APIWebSocketRoute)
        walked += 1
        if isinstance(route, APIWebSocketRoute):
            with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(path_of(route)):
                pass
            assert closed.value.code == 1008
            continue
        for method in route.methods:
            if f"{method} {route.path}" in OPEN_TO_ALL:
                assert isinstance(declared(route), Public)
                continue
            answer = client.request(method, path_of(route))
            refused = answer.status_code == 401 or (
                answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")
            )
            assert refused, f"{method} {route.path}: {answer.status_code}"
    assert walked > (20 if port == "console" else 4)


def test_a_viewer_changes_nothing_and_an_operator_is_no_admin(hub: TestHub, console: TestClient) -> None:
    assert isinstance(console.app, FastAPI)
    for role in (Role.VIEWER, Role.OPERATOR):
        headers = {"Authorization": f"Bearer {hub.token(role)}"}
        for route in routes_of(console.app):
            access = declared(route)
            if not isinstance(route, APIRoute) or not isinstance(access, Require) or role.covers(access.role):
                continue
            for method in route.methods:
                answer = console.request(method, path_of(route), headers=headers)
                assert answer.status_code == 403, f"{role}: {method} {route.path}: {answer.status_code}"


def test_what_changes_something_needs_more_than_a_viewer(console: TestClient) -> None:
    assert isinstance(console.app, FastAPI)
    own = {"DELETE /api/session", "POST /logout"}
    for route in routes_of(console.app):
        access = declared(route)
        if isinstance(route, APIRoute) and isinstance(access, Require) and not route.methods <= {"GET", "HEAD"}:
            names = {f"{method} {route.path}" for method in route.methods}
            assert names <= own or access.role is not Role.VIEWER, names


def test_the_device_port_knows_certificates_only(hub: TestHub, device_port: TestClient) -> None:
    assert isinstance(device_port.app, FastAPI)
    assert any(isinstance(declared(route), RequireDevice) for route in routes_of(device_port.app))
    headers = {"Authorization": f"Bearer {hub.admin_token}"}
    assert device_port.get("/v1/metadata/timestamp.json", headers=headers).status_code == 401


def test_an_app_with_a_silent_route_does_not_start() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(AssertionError, match="/forgotten"):
        require_declared(app)
    with pytest.raises(AssertionError, match=r"/docs"):
        require_declared(FastAPI())


def test_the_cookie_is_for_this_site_and_not_for_scripts(hub: TestHub, console: TestClient) -> None:
    answer = console.post("/api/session", json={"name": "admin", "password": hub.password})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert "; secure" not in cookie
    with TestClient(console.app, base_url="https://testserver") as over_tls:
        answer = over_tls.post("/api/session", json={"name": "admin", "password": hub.password})
    assert "; secure" in answer.headers["set-cookie"].lower()


def test_a_cookie_alone_changes_nothing(hub: TestHub, console: TestClient) -> None:
    csrf = log_in(console, hub)
    hub.add_device("d1")
    change = ("PUT", "/api/devices/d1/labels")
    body = {"labels": {"room": "kitchen"}}
    assert console.get("/api/devices").status_code == 200
    refusals = (
        {},
        ORIGIN,
        ORIGIN | {"X-CSRF-Token": "guess"},
        {"X-CSRF-Token": csrf},
        {"X-CSRF-Token": csrf, "origin": "http://evil.test"},
        {"X-CSRF-Token": csrf, "origin": "null"},
    )
    for headers in refusals:
        assert console.request(*change, json=body, headers=headers).status_code == 403, headers
    assert console.request(*change, json=body, headers=ORIGIN | {"X-CSRF-Token": csrf}).status_code == 200


def test_a_wrong_token_is_not_helped_by_a_cookie(hub: TestHub, console: TestClient) -> None:
    log_in(console, hub)
    for header in ("Bearer wrong", "Basic YTpi", "wrong"):
        status = console.get("/api/devices", headers={"Authorization": header}).status_code
        assert status == (200 if header == "wrong" else 401), header


def test_logging_out_ends_the_session(hub: TestHub, console: TestClient) -> None:
    csrf = log_in(console, hub)
    cookie = f"{COOKIE}={console.cookies[COOKIE]}"
    headers = ORIGIN | {"X-CSRF-Token": csrf}
    assert console.delete("/api/session", headers=headers).status_code == 204
    assert console.get("/api/devices", headers={"cookie": cookie}).status_code == 401


def test_a_login_from_another_site_is_refused(hub: TestHub, console: TestClient) -> None:
    login = {"name": "admin", "password": hub.password}
    assert console.post("/api/session", json=login, headers={"origin": "http://evil.test"}).status_code == 403


def test_a_body_that_is_too_long_is_cut_off(hub: TestHub, console: TestClient) -> None:
    headers = {"content-type": "application/json"}
    answer = console.post("/api/session", content=b" " * (BODY_LIMIT + 1), headers=headers)
    assert answer.status_code == 413
    login = json.dumps({"name": "admin", "password": hub.password}).encode()
    in_chunks = console.post("/api/session", content=iter([b" " * BODY_LIMIT, login]), headers=headers)
    assert in_chunks.status_code in {400, 413}


def test_answers_carry_the_headers_that_browsers_obey(hub: TestHub, console: TestClient) -> None:
    headers = console.get("/api/hub", headers={"Authorization": f"Bearer {hub.admin_token}"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "object-src 'none'" in headers["content-security-policy"]
