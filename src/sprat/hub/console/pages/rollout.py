"""One rollout: waves, gates, devices with their reasons, and what an operator may do to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sprat.errors import WrongUse
from sprat.hub.console.charts import Segment
from sprat.hub.console.pages.rollout_bars import card
from sprat.hub.console.views import Site, View
from sprat.hub.fleet.logins import Person
from sprat.hub.queries.rollouts import RolloutView, WaveView, rollout_view
from sprat.hub.rollouts.counts import healthy
from sprat.hub.store.rollout_values import Member, MemberStatus

SHOWN: Final = 200
_PARTS: Final = ("phase", "notice", "touches", "waves", "gates", "devices", "log")


@dataclass(frozen=True, slots=True)
class Shown:
    """A rollout, its bars, and the first of its devices with install phase and healthy predictions."""

    view: RolloutView
    bars: tuple[tuple[WaveView, tuple[Segment, ...]], ...]
    members: tuple[tuple[Member, str, int], ...]

    @property
    def pending(self) -> tuple[Member, ...]:
        """Return the devices whose wave has not begun."""
        return tuple(member for member in self.view.members if member.status is MemberStatus.PENDING)

    @property
    def more(self) -> int:
        """Return how many devices are not shown."""
        return len(self.view.members) - len(self.members) - len(self.pending)


def view(site: Site, rollout: str) -> View:
    """Return the page with its live parts."""
    return View("rollout", "rollouts", _PARTS, lambda: _context(site, rollout))


def act(site: Site, rollout: str, action: str, person: Person, *, sure: bool) -> None:
    """Do what a button says; aborting must be confirmed."""
    if action == "abort" and not sure:
        raise WrongUse("abort: not confirmed; tick the box that says so")
    site.services.act(rollout, action, person)


def _context(site: Site, rollout: str) -> Mapping[str, Any] | None:
    services = site.services
    found = services.hub.rollouts.get(rollout)
    if found is None:
        return None
    bars = card(rollout_view(found))
    members = tuple(_members(site, bars.view))
    return {"rollout": Shown(bars.view, bars.bars, members), "log": services.hub.rollouts.log(rollout)[::-1][:50]}


def _members(site: Site, view: RolloutView) -> Iterator[tuple[Member, str, int]]:
    spec = view.rollout.spec
    begun = [member for member in view.members if member.status is not MemberStatus.PENDING]
    shown = begun[:SHOWN]
    bundles = sorted({member.bundle for member in shown if member.bundle})
    telemetry = site.services.hub.telemetry
    tallies = telemetry.tallies(model=spec.model, bundles=bundles) if bundles else ()
    ever = {(tally.device, tally.bundle): tally.predictions for tally in tallies}
    rows = {row.id: row for row in site.services.board.fleet().rows}
    for member in shown:
        told = rows[member.device].told if member.device in rows else None
        report = told.twin.models.get(spec.model) if told else None
        phase = str(report.install.phase) if report and report.install.release_seq == spec.release_seq else ""
        yield member, phase, healthy(member, ever.get((member.device, member.bundle), 0), telemetry)
