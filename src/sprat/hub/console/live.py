"""One tick a second to every open page: each view is rendered once, and only parts that changed are sent.

A tick goes out even when nothing changed, so that the page's live dot can tell the truth. A socket is closed when its
session ends. No viewer, no work.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fastapi import WebSocket, WebSocketDisconnect

from sprat.hub.access import COOKIE
from sprat.hub.console.render import Renderer
from sprat.hub.console.services import ConsoleServices
from sprat.hub.console.views import View

TICK_S: Final = 1.0
MAX_VIEWERS: Final = 500
SIGNED_OUT: Final = 4401
UNKNOWN_VIEW: Final = 4404
FULL: Final = 4429
_GONE: Final = 1001
_SEND_S: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Viewer:
    """One open page, and what it holds already."""

    socket: WebSocket
    address: str
    view: View
    held: dict[str, str] = field(default_factory=dict)


class Live:
    """Keeps open pages current; the route that hands sockets in has checked role and origin."""

    def __init__(self, services: ConsoleServices, renderer: Renderer, resolve: Callable[[str], View | None]) -> None:
        self._services = services
        self._renderer = renderer
        self._resolve = resolve
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None

    async def serve(self, socket: WebSocket, address: str) -> None:
        """Hold one socket until its page goes away."""
        await socket.accept()
        view = self._resolve(address)
        if view is None or len(self._viewers) >= MAX_VIEWERS:
            await socket.close(FULL if view else UNKNOWN_VIEW)
            return
        viewer = Viewer(socket, address, view)
        self._viewers.add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="console-live")
        try:
            while True:
                await socket.receive_text()  # a page says nothing; this is how its end is noticed
        except (WebSocketDisconnect, RuntimeError) as exc:
            _log.debug("viewer of %s left (%s)", address, exc)
        finally:
            self._viewers.discard(viewer)

    async def _run(self) -> None:
        """Tick while anyone looks on; what rendering costs does not slow the beat."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._viewers:
            try:
                await self._tick()
            except Exception:  # noqa: BLE001 - logged whole; see below
                # One failed tick must not freeze every page for good: they say "reconnecting" until one succeeds.
                _log.exception("console: a tick failed")
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _tick(self) -> None:
        by_address: dict[str, list[Viewer]] = defaultdict(list)
        for viewer in list(self._viewers):
            by_address[viewer.address].append(viewer)
        for viewers in by_address.values():
            now_us = self._services.hub.now_us()
            parts = await asyncio.to_thread(viewers[0].view.render_parts, self._renderer, now_us)
            await asyncio.gather(*(self._send(viewer, parts, now_us) for viewer in viewers))

    async def _send(self, viewer: Viewer, parts: dict[str, str], now_us: int) -> None:
        if not await asyncio.to_thread(self._signed_in, viewer.socket):
            await self._part(viewer, SIGNED_OUT)
            return
        changed = {name: html for name, html in parts.items() if viewer.held.get(name) != html}
        try:
            message = json.dumps({"now": now_us // 1000, "parts": changed})
            await asyncio.wait_for(viewer.socket.send_text(message), _SEND_S)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            await self._part(viewer, _GONE)  # the page is gone or does not read; it reconnects when it comes back
            return
        viewer.held = parts

    def _signed_in(self, socket: WebSocket) -> bool:
        """Tell whether the session still holds; a program's token was checked when it connected."""
        cookie = socket.cookies.get(COOKIE, "")
        return not cookie or self._services.hub.people.by_cookie(cookie) is not None

    async def _part(self, viewer: Viewer, code: int) -> None:
        self._viewers.discard(viewer)
        try:
            await asyncio.wait_for(viewer.socket.close(code), _SEND_S)
        except (TimeoutError, RuntimeError, WebSocketDisconnect) as exc:
            _log.debug("socket was closed already: %s", exc)
