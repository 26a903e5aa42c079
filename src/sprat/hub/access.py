"""Who may use a route: every route of the hub declares it, and the app refuses to start if one does not.

A program sends `Authorization: Bearer TOKEN`. A browser has a session cookie (HttpOnly, SameSite=Lax); whatever it
changes needs the session's CSRF token, in the header `X-CSRF-Token` or the form field `csrf`, and its own origin.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, WebSocketException
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute

from sprat.hub.errors import NotAllowed, NotLoggedIn
from sprat.hub.fleet.logins import IDLE_US, People, Person
from sprat.hub.store.rows import Role

COOKIE: Final = "sprat_session"
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_POLICY_VIOLATION: Final = 1008


@dataclass(frozen=True, slots=True)
class Require:
    """A route's dependency: whoever asks must have at least this role; the route gets the Person."""

    role: Role

    async def __call__(self, connection: HTTPConnection) -> Person:
        """Return who asks, or refuse."""
        try:
            return await self._admitted(connection)
        except (NotLoggedIn, NotAllowed) as exc:
            if connection.scope["type"] == "websocket":
                raise WebSocketException(_POLICY_VIOLATION, str(exc)) from exc
            raise

    async def _admitted(self, connection: HTTPConnection) -> Person:
        people: People = connection.app.state.services.people
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if token:
            person = await run_in_threadpool(people.by_token, token) if scheme.lower() == "bearer" else None
        else:
            person = await run_in_threadpool(people.by_cookie, connection.cookies.get(COOKIE, ""))
            if person is not None:
                await _require_own_page(connection, person)
        if person is None:
            raise NotLoggedIn("login", "not logged in; log in, or send a valid token as `Authorization: Bearer …`")
        if not person.role.covers(self.role):
            raise NotAllowed("role", f"{person.name} is {person.role}, this needs {self.role}; ask an admin")
        return person


@dataclass(frozen=True, slots=True)
class Public:
    """A route's dependency: anyone may use it, for the reason that it names."""

    reason: str

    async def __call__(self) -> None:
        """Let everyone in."""


@dataclass(frozen=True, slots=True)
class RequireDevice:
    """A route's dependency on the device port: a certificate of this fleet, neither revoked nor ended before `grace`."""

    grace: timedelta = timedelta(0)

    async def __call__(self, request: Request) -> str:
        """Return the device's id, or refuse."""
        peer = getattr(request.state, "peer", None)
        if peer is None:
            raise NotLoggedIn("no-certificate", "this needs the device's certificate; enrol the device first")
        enrolment = request.app.state.services.enrolment
        admits = partial(enrolment.admits, peer.name, peer.serial, grace=self.grace)
        device = await run_in_threadpool(admits)
        if device is None:
            raise NotAllowed("revoked", f"the certificate of {peer.name!r} is not valid here any more; enrol it again")
        return str(device.id)


Access = Require | Public | RequireDevice


def same_origin(connection: HTTPConnection) -> bool:
    """Tell whether a browser says that a page of this very hub sent this; no Origin at all is refused too."""
    origin = urlsplit(connection.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == connection.headers.get("host", "")


def set_session(response: Response, cookie: str, *, secure: bool) -> None:
    """Give a browser its session."""
    response.set_cookie(
        COOKIE, cookie, max_age=IDLE_US // 1_000_000, path="/", httponly=True, samesite="lax", secure=secure
    )  # fmt: skip


def end_session(response: Response) -> None:
    """Take the session from a browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")


def declared(route: BaseRoute) -> Access | None:
    """Return what a route says of who may use it."""
    if not isinstance(route, APIRoute | APIWebSocketRoute):
        return None
    return next((call for call in _calls(route.dependant) if isinstance(call, Require | Public | RequireDevice)), None)


def routes_of(router: FastAPI | APIRouter) -> Iterator[BaseRoute]:
    """Walk every route of an app, those of included routers too."""
    for route in router.routes:
        # Since 0.16x FastAPI keeps an included router whole, as one entry that names it.
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from routes_of(included)


def require_declared(app: FastAPI) -> None:
    """Raise unless every route of an app says who may use it: default deny, before the first request."""
    silent = [getattr(route, "path", type(route).__name__) for route in routes_of(app) if declared(route) is None]
    if silent:
        raise AssertionError(f"routes without Require, RequireDevice or Public: {', '.join(silent)}")


def _calls(dependant: Dependant) -> Iterator[object]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


async def _require_own_page(connection: HTTPConnection, person: Person) -> None:
    if connection.scope["type"] == "http" and connection.scope["method"] in _SAFE:
        return
    if not same_origin(connection):
        raise NotAllowed("origin", "the request does not come from the hub's own page; use that")
    if connection.scope["type"] != "http":
        return
    sent = connection.headers.get(CSRF_HEADER, "")
    if not sent and isinstance(connection, Request) and connection.headers.get("content-type", "").startswith(_FORMS):
        field = (await connection.form()).get(CSRF_FIELD, "")
        sent = field if isinstance(field, str) else ""
    if not secrets.compare_digest(sent.encode(), person.csrf.encode()):
        raise NotAllowed("csrf", "the page is out of date; load it again")
