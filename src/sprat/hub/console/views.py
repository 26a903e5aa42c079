"""A view: one page's template, the parts of it that live updates replace, and where its values come from.

The same parts are rendered for the first paint and for every tick, so a live page can never show what a reload would
not. Parts are rendered once for all viewers: nothing of one person's session may stand in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sprat.hub.console.render import Renderer
from sprat.hub.console.services import ConsoleServices
from sprat.hub.errors import NotFound
from sprat.hub.fleet.logins import Person
from sprat.hub.store.rows import Role


@dataclass(frozen=True, slots=True)
class View:
    """A page that can be rendered whole or part by part.

    The page's template is `<name>.html`, a part's is `<name>/<part>.html`, and the element that holds it has the id
    `<name>-<part>`. `context` returns None where what the address names does not exist.
    """

    name: str
    here: str
    parts: tuple[str, ...]
    context: Callable[[], Mapping[str, Any] | None]

    def render(self, site: Site, person: Person) -> str:
        """Render the whole page for one person."""
        context = self.context()
        if context is None:
            raise NotFound("this does not exist here, or no longer; look for it in its list")
        own = {
            "session": person, "here": self.here, "live": bool(self.parts), "may_act": person.role.covers(Role.OPERATOR),
            "now_us": site.services.hub.now_us(),
        }  # fmt: skip
        return site.renderer.page(f"{self.name}.html", {**context, **own})

    def render_parts(self, renderer: Renderer, now_us: int) -> dict[str, str]:
        """Render each live part, by the id of the element that holds it."""
        context = self.context()
        if context is None:
            return {}
        full = {**context, "now_us": now_us}
        return {f"{self.name}-{part}": renderer.page(f"{self.name}/{part}.html", full) for part in self.parts}


@dataclass(frozen=True, slots=True)
class Site:
    """What every page needs."""

    services: ConsoleServices
    renderer: Renderer
