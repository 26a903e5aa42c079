"""Templates to HTML: everything is escaped, an unknown name is an error, and numbers read the same on every page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from sprat.hub.console import charts
from sprat.hub.queries.sentences import sentence

_FOLDER: Final = Path(__file__).parent / "templates"
_THIN: Final = "\N{THIN SPACE}"
_UNITS: Final = (("s", 1e6), ("ms", 1e3), ("µs", 1.0))
_NOTHING: Final = "\N{EN DASH}"


class Renderer:
    """Renders whole pages and the parts that live updates replace."""

    def __init__(self, common: Mapping[str, Any]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._environment.globals.update(common, charts=charts, sentence=sentence)
        self._environment.filters.update(
            number=number, us=duration, bytes=size, share=share, age=_age, moment=_moment, short=short_digest,
            clip=clip,
        )  # fmt: skip

    def page(self, template: str, context: Mapping[str, Any]) -> str:
        """Render one template."""
        return self._environment.get_template(template).render(context)


def number(value: float) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", _THIN)


def duration(value_us: float | None) -> str:
    """Write a latency in the unit that reads best; a dash where nothing was told."""
    if value_us is None:
        return _NOTHING
    unit, size_us = next((pair for pair in _UNITS if value_us >= pair[1]), _UNITS[-1])
    shown = value_us / size_us
    return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.1f} {unit}"


def size(value: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in per cent; never 0 % or 100 % for what is not."""
    if not whole:
        return _NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def short_digest(value: str) -> str:
    """Cut a SHA-256 to what people compare."""
    return value[:12]


def clip(value: str, length: int = 160) -> str:
    """Cut a text of a device's choosing."""
    return value if len(value) <= length else value[: length - 1] + "…"


def age_text(seconds: float) -> str:
    """Write an age as the console's script writes it."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400)} d"


@pass_context
def _age(context: Context, at_us: int) -> Markup:
    if not at_us:
        return Markup("never")
    return _time(at_us, age_text((context["now_us"] - at_us) / 1e6), kind="age")


def _moment(at_us: int) -> Markup:
    return _time(at_us, f"{_utc(at_us):%d %b %H:%M}", kind="moment") if at_us else Markup("never")


def _time(at_us: int, text: str, *, kind: str) -> Markup:
    moment = _utc(at_us)
    return Markup('<time datetime="{}" title="{} UTC" data-as="{}">{}</time>').format(
        f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:%Y-%m-%d %H:%M:%S}", kind, text
    )


def _utc(at_us: int) -> datetime:
    # A device may claim any time; what the calendar cannot hold is shown as its nearest end.
    return datetime.fromtimestamp(min(max(at_us, 0), 253_402_300_799_000_000) / 1e6, UTC)
