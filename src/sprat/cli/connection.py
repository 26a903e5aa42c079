"""How commands reach the hub: its address by flag, environment or file; its token never on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sprat import settings
from sprat.errors import WrongUse

if TYPE_CHECKING:
    from sprat.client import HubClient

HubOption = Annotated[
    str | None, typer.Option("--hub", metavar="URL", help="Address of the hub; else SPRAT_HUB. The token: SPRAT_TOKEN.")
]


def connect(hub: str | None) -> HubClient:
    """Return a client of the hub that the user means."""
    from sprat.client import HubClient

    found = settings.read({"hub": hub})
    if not found.hub:
        raise WrongUse("no hub is named; give --hub URL or set SPRAT_HUB (`sprat hub run` prints the address)")
    if not found.token:
        raise WrongUse("no token is set; export SPRAT_TOKEN, at first with what `sprat hub init` wrote to admin.token")
    return HubClient(found.hub, found.token)


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Read `name=value` labels."""
    labels = {}
    for text in given or ():
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise WrongUse(f"label {text!r}: expected name=value")
        labels[name] = value
    return labels


def age(then_us: int, now_us: int) -> str:
    """Write how long ago something was."""
    if not then_us:
        return "never"
    seconds = max(0, now_us - then_us) // 1_000_000
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
