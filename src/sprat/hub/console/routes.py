"""The console's routes: thin, each says who may use it; `resolve` finds the view of an address for live updates."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from fastapi import APIRouter, Depends, Form, Query, Request, WebSocket
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sprat.errors import SpratError
from sprat.hub import access
from sprat.hub.access import COOKIE, Public, Require
from sprat.hub.console.assets import Assets
from sprat.hub.console.live import Live
from sprat.hub.console.pages import audit, device, devices, fleet, releases, rollout, rollouts
from sprat.hub.console.render import Renderer
from sprat.hub.console.services import ConsoleServices, HubParts
from sprat.hub.console.views import Site, View
from sprat.hub.errors import NotAllowed, NotFound, NotLoggedIn, TooManyTries
from sprat.hub.fleet.logins import Person
from sprat.hub.queries.devices import DeviceQuery
from sprat.hub.store.rows import Role

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATUSES: Final = ((NotFound, 404), (NotAllowed, 403), (SpratError, 409))
_VIEWER: Final = Require(Role.VIEWER)
_OPERATOR: Final = Require(Role.OPERATOR)
_LONGEST_ADDRESS: Final = 2048

Viewer = Annotated[Person, Depends(_VIEWER)]
Operator = Annotated[Person, Depends(_OPERATOR)]


class _PageRoute(APIRoute):
    """Adds the console's headers, and says errors as a page where a person reads them."""

    renderer: ClassVar[Renderer]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await inner(request)
            except NotLoggedIn:
                raise  # the app leads to the login page
            except SpratError as exc:
                response = _error_page(self.renderer, exc)
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handler


def console_router(hub: HubParts, *, warning: str = "") -> APIRouter:
    """Return the console's routes; `warning` stands on every page.

    The app keeps its services in `app.state.services`, where access rules look.
    """
    services = ConsoleServices.over(hub)
    assets = Assets()
    site = Site(services, Renderer({"asset": assets.address, "warning": warning}))
    live = Live(services, site.renderer, lambda address: resolve(site, address))
    route_class = type("ConsoleRoute", (_PageRoute,), {"renderer": site.renderer})
    router = APIRouter(route_class=route_class, default_response_class=HTMLResponse, include_in_schema=False)
    _add_pages(router, site)
    _add_login(router, site)

    @router.get("/assets/{name}", dependencies=[Depends(Public("style and script of the login page"))])
    async def asset(name: str) -> Response:
        return assets.response(name)

    @router.websocket("/live")
    async def follow(
        socket: WebSocket, _person: Viewer, view: Annotated[str, Query(max_length=_LONGEST_ADDRESS)]
    ) -> None:
        await live.serve(socket, view)

    return router


def resolve(site: Site, address: str) -> View | None:
    """Return the view that an address of this console shows, or None."""
    parts = urlsplit(address)
    match unquote(parts.path).strip("/").split("/"):
        case [""]:
            return fleet.view(site)
        case [name]:
            return _list(site, name, parts.query)
        case ["devices", name]:
            return device.view(site, name)
        case ["rollouts", name]:
            return rollout.view(site, name)
        case _:
            return None


def _list(site: Site, name: str, query: str) -> View | None:
    match name:
        case "devices":
            return devices.view(site, DeviceQuery.parse(dict(parse_qsl(query))))
        case "releases":
            return releases.view(site)
        case "rollouts":
            return rollouts.view(site)
        case _:
            return None


def _add_pages(router: APIRouter, site: Site) -> None:
    async def page(request: Request, person: Viewer) -> str:
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        view = resolve(site, address)
        if view is None:
            raise NotFound(f"page {request.url.path[:80]!r}: not here")
        return await run_in_threadpool(view.render, site, person)

    for path in ("/", "/devices", "/devices/{name}", "/releases", "/rollouts", "/rollouts/{name}"):
        router.get(path, response_class=HTMLResponse)(page)

    @router.get("/audit")
    def audit_page(person: Viewer, before: Annotated[int, Query(ge=1)] = 2**62) -> str:
        return audit.view(site, before).render(site, person)

    @router.post("/rollouts/{name}/{action}")
    def act(name: str, action: str, person: Operator, sure: Annotated[str, Form()] = "") -> Response:
        rollout.act(site, name, action, person, sure=sure == "yes")
        return RedirectResponse(f"/rollouts/{name}", status_code=303)


def _add_login(router: APIRouter, site: Site) -> None:
    people = site.services.hub.people

    def form(*, wanted: str, name: str = "", error: str = "", status: int = 200) -> Response:
        html = site.renderer.page("login.html", {"next": local_path(wanted), "name": name, "error": error})
        return HTMLResponse(html, status_code=status)

    @router.get("/login", dependencies=[Depends(Public("the way in"))])
    def login_page(wanted: Annotated[str, Query(alias="next", max_length=_LONGEST_ADDRESS)] = "/") -> Response:
        return form(wanted=wanted)

    @router.post("/login", dependencies=[Depends(Public("the way in"))])
    def log_in(
        request: Request,
        name: Annotated[str, Form(max_length=63)],
        password: Annotated[str, Form(max_length=1024)],
        wanted: Annotated[str, Form(alias="next", max_length=_LONGEST_ADDRESS)] = "/",
    ) -> Response:
        if not access.same_origin(request):
            raise NotAllowed("origin", "the request comes from another site; use the hub's own pages")
        address = request.client.host if request.client else ""
        try:
            cookie, _ = people.log_in(name, password, address)
        except (NotLoggedIn, TooManyTries) as exc:
            status = 429 if isinstance(exc, TooManyTries) else 401
            return form(wanted=wanted, name=name, error=f"{str(exc.args[0]).capitalize()}.", status=status)
        response = RedirectResponse(local_path(wanted), status_code=303)
        access.set_session(response, cookie, secure=request.url.scheme == "https")
        return response

    @router.post("/logout")
    def log_out(request: Request, _person: Viewer) -> Response:
        people.log_out(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", status_code=303)
        access.end_session(response)
        return response


def local_path(wanted: str) -> str:
    """Return a path on this console; what could lead elsewhere becomes the first page."""
    parts = urlsplit(wanted)
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return wanted if plain and wanted.isprintable() and "\\" not in wanted else "/"


def _error_page(renderer: Renderer, error: SpratError) -> Response:
    status = next(status for family, status in _STATUSES if isinstance(error, family))
    text = str(error.args[0] if error.args else error)
    heading = {404: "Not found", 403: "Not allowed"}.get(status, "Refused")
    return HTMLResponse(renderer.page("error.html", {"heading": heading, "text": text}), status_code=status)
