"""With what a board joins a fleet, and how it gets its identity: by the new agent's own `enrol`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sprat_device.board import identity as identities
from sprat_device.board import pinned
from sprat_device.board.identity import Identity
from sprat_device.board.upkeep import environments
from sprat_device.board.upkeep.places import BoardRefused
from sprat_device.contract.enrolment import parse_token
from sprat_device.contract.errors import HubUnreachable, MachineLacks, WrongUse
from sprat_device.contract.ids import device_id


@dataclass(frozen=True, slots=True)
class Joining:
    """With what a board joins a fleet."""

    hub: str = ""
    token: str = field(default="", repr=False)
    device: str = ""

    def __post_init__(self) -> None:
        """Read what can be read, so that a slip costs nothing, or raise WrongUse."""
        if bool(self.hub) != bool(self.token):
            raise WrongUse("--hub and --token go together; `sprat enrol token` prints both")
        if self.device:
            device_id(self.device)
        if self.token:
            pinned.require_https(self.hub)
            parse_token(self.token)


def enrol(environment: Path, joining: Joining, state: Path, ids: tuple[int, int] | None = None) -> Identity:
    """Let the new agent get an identity into a state folder, as the user of `ids` where they are given.

    The token goes by stdin, so no list of processes has it.
    """
    arguments = ["enrol", "--hub", joining.hub, "--token", "-", "--state", str(state)]
    if joining.device:
        arguments += ["--device", joining.device]
    done = environments.run(environment, *arguments, sent=joining.token + "\n", ids=ids)
    if done.returncode == 0:
        return identities.load(state)
    said = environments.last_line(done).removeprefix("sprat-device: ")
    match done.returncode:
        case 1:
            raise BoardRefused("not-enrolled", said)
        case 3:
            raise HubUnreachable(said)
        case _:
            raise MachineLacks(said)
