"""Writes the pipeline that builds a project on every push, for the services that people use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sprat import __version__
from sprat.errors import WrongUse

PLACES: Final[Mapping[str, str]] = {"github": ".github/workflows/model.yml", "gitlab": ".gitlab-ci.yml"}
"""Where each service looks for its pipeline, inside the repository's folder."""
_TEMPLATES: Final = Path(__file__).with_name("templates") / "_ci"
_VERSION_MARK: Final = "SPRAT-VERSION"


def require_known(service: str) -> None:
    """Raise WrongUse for a service that has no pipeline."""
    if service not in PLACES:
        raise WrongUse(f"--ci {service!r}: expected {' or '.join(PLACES)}")


def write(folder: Path, service: str) -> Path:
    """Write the service's pipeline into a project's folder and return its place; one that is there is never replaced."""
    require_known(service)
    place = folder / PLACES[service]
    if place.exists():
        raise WrongUse(
            f"{place} is there already; remove it first, or merge by hand what `sprat init NEW --ci {service}` writes"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    text = (_TEMPLATES / f"{service}.yml").read_text("utf-8").replace(_VERSION_MARK, __version__)
    partial = place.with_name(place.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(place)
    return place
