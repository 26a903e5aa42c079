"""What the console needs of the hub (a part of the hub's services), and the read side that it builds on that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sprat.errors import WrongUse
from sprat.hub.errors import NotFound
from sprat.hub.fleet.logins import People, Person
from sprat.hub.folder import HubFolder
from sprat.hub.queries.arrivals import Arrivals
from sprat.hub.queries.baselines import Baselines
from sprat.hub.queries.board import Board
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rollout_values import Rollout
from sprat.hub.store.rollouts import RolloutStore
from sprat.hub.store.telemetry import TelemetryStore


class RolloutActs(Protocol):
    """What a person may do to a rollout; each raises Refused where its phase forbids it."""

    def start(self, rollout: str, by: str) -> Rollout:
        """Begin a draft."""

    def pause(self, rollout: str, by: str) -> Rollout:
        """Stop it where it is."""

    def resume(self, rollout: str, by: str) -> Rollout:
        """Go on."""

    def abort(self, rollout: str, by: str) -> Rollout:
        """End it and take back what is not done."""


class HubParts(Protocol):
    """The parts of the hub that the console uses."""

    @property
    def folder(self) -> HubFolder:
        """Where published bundles stand."""

    @property
    def store(self) -> FleetStore:
        """Devices, twins, releases, people, audit."""

    @property
    def telemetry(self) -> TelemetryStore:
        """What came back."""

    @property
    def rollouts(self) -> RolloutStore:
        """Rollouts and what happened to them."""

    @property
    def dispatcher(self) -> RolloutActs:
        """What may be done to them."""

    @property
    def people(self) -> People:
        """Logins and sessions."""

    @property
    def now_us(self) -> Callable[[], int]:
        """The hub's clock."""


ACTIONS: Final[dict[str, Callable[[RolloutActs, str, str], Rollout]]] = {
    "start": lambda acts, rollout, by: acts.start(rollout, by),
    "pause": lambda acts, rollout, by: acts.pause(rollout, by),
    "resume": lambda acts, rollout, by: acts.resume(rollout, by),
    "abort": lambda acts, rollout, by: acts.abort(rollout, by),
}


@dataclass(frozen=True, slots=True)
class ConsoleServices:
    """The hub's parts and the console's shared read side."""

    hub: HubParts
    arrivals: Arrivals
    board: Board

    @classmethod
    def over(cls, hub: HubParts) -> ConsoleServices:
        """Build the read side over a hub's parts."""
        arrivals = Arrivals(hub.telemetry, Baselines(hub.store, hub.folder.repository / "targets"))
        return cls(hub, arrivals, Board(hub.store, arrivals.signals, hub.now_us))

    def act(self, rollout: str, action: str, person: Person) -> None:
        """Do something to a rollout and write down who did it."""
        if action not in ACTIONS:
            raise WrongUse(f"action {action[:20]!r}: expected one of {', '.join(ACTIONS)}")
        found = self.hub.rollouts.get(rollout)
        if found is None:
            raise NotFound(f"rollout {rollout[:64]!r}: does not exist, or no longer")
        after = ACTIONS[action](self.hub.dispatcher, found.id, person.name)
        detail = {"before": found.phase, "after": after.phase}
        self.hub.store.audit.add(person.name, f"rollout.{action}", found.id, self.hub.now_us(), detail)
        self.board.forget()
