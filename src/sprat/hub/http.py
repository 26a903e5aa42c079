"""What both HTTP ports do with every request: bounded bodies, headers that browsers obey, errors as one JSON line."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sprat.errors import BundleRefused, GateFailed, HubUnreachable, MachineLacks, SpratError, WrongUse
from sprat.hub.errors import NotAllowed, NotFound, NotLoggedIn, TooManyTries

_log = logging.getLogger(__name__)
BODY_LIMIT: Final = 1024 * 1024
UPLOAD_LIMIT: Final = 512 * 1024 * 1024
UPLOAD_PATH: Final = "/api/releases"
LOGIN_PATH: Final = "/login"
API_PREFIXES: Final = ("/api/", "/v1/", "/metrics")

STATUSES: Final[tuple[tuple[type[SpratError], int], ...]] = (
    (NotLoggedIn, 401),
    (NotAllowed, 403),
    (NotFound, 404),
    (TooManyTries, 429),
    (GateFailed, 409),
    (BundleRefused, 409),
    (WrongUse, 400),
    (HubUnreachable, 503),
    (MachineLacks, 503),
)
"""The first family that an error belongs to gives its HTTP status; none of them: 500."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
}


def install(app: FastAPI) -> None:
    """Add all of it to an app."""
    app.add_exception_handler(SpratError, _on_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_fault)
    app.middleware("http")(_with_headers)
    app.add_middleware(BodyLimit)


def status_of(error: SpratError) -> int:
    """Return the HTTP status of an error's family."""
    return next((status for family, status in STATUSES if isinstance(error, family)), 500)


@dataclass(slots=True)
class BodyLimit:
    """Cuts bodies off that are longer than any honest one, before anything is known of their sender."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = UPLOAD_LIMIT if scope["path"] == UPLOAD_PATH else BODY_LIMIT
        too_long = f"body of more than {limit} bytes"
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await _answer(413, "http", too_long)(scope, receive, send)
            return
        seen = 0  # a body may come in chunks, without a length

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, too_long)
            return message

        await self.app(scope, counted, send)


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, SpratError):  # the registration above says so; the signature is Starlette's
        raise error
    wants_page = not request.url.path.startswith(API_PREFIXES)
    if isinstance(error, NotLoggedIn) and wants_page and request.url.path != LOGIN_PATH:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{LOGIN_PATH}?next={quote(wanted, safe='')}", status_code=303)
    code = getattr(error, "code", getattr(error, "reason", type(error).__name__))
    message = error.args[0] if isinstance(error, GateFailed | BundleRefused) else str(error)
    return _answer(status_of(error), str(code), str(message))


async def _on_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(error.status_code, "http", str(error.detail))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _answer(400, "WrongUse", f"{place}: {first['msg']}")


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("fault at %s", request.url.path, exc_info=error)
    return _answer(500, "fault", "a fault of the hub; its log says more")


def _answer(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
