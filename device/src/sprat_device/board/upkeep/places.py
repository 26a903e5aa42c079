"""Where the agent's parts lie on a board, and the record of what set-up made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from sprat_device.board.files import OsFiles
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.contract.errors import MachineLacks, SpratError, WrongUse
from sprat_device.contract.fields import Fields, text

SCHEMA: Final = "sprat.board/1"
USER: Final = "sprat"


class BoardRefused(SpratError):
    """A rule forbids it on this board; `code` is the closed reason code."""

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        """Keep the reason code beside the sentence for people."""
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        """Show the reason code and the sentence."""
        return f"{self.code}: {self.args[0]}"


@dataclass(frozen=True, slots=True)
class Places:
    """Every path below one root, which is `/` but for tests."""

    root: Path
    state: Path
    """The state folder, root included."""

    @classmethod
    def below(cls, root: Path, state: Path) -> Self:
        """Put the state folder below the root, or raise WrongUse."""
        if not state.is_absolute():
            raise WrongUse(f"--state {state}: expected an absolute path, such as /var/lib/sprat")
        root = root.absolute()
        return cls(root, root / state.relative_to("/"))

    @property
    def home(self) -> Path:
        """The agent's own folder."""
        return self.root / "opt/sprat"

    @property
    def environments(self) -> Path:
        """One folder for each installed agent."""
        return self.home / "envs"

    @property
    def current(self) -> Path:
        """The link to the environment that runs."""
        return self.home / "current"

    @property
    def python(self) -> Path:
        """The Python that the unit names; an upgrade changes what it leads to."""
        return self.current / "bin/python"

    @property
    def record(self) -> Path:
        """What set-up made."""
        return self.home / "board.json"

    @property
    def unit(self) -> Path:
        """The agent's unit."""
        return self.root / "etc/systemd/system" / UNIT_NAME

    @property
    def trial(self) -> Path:
        """The drop-in that runs a new agent on trial; below /run, so a power cut ends the trial."""
        return self.root / "run/systemd/system" / f"{UNIT_NAME}.d/trial.conf"

    @property
    def command(self) -> Path:
        """What people type."""
        return self.root / "usr/local/bin/sprat-device"


@dataclass(frozen=True, slots=True)
class Record:
    """What set-up made on this board; upgrade and remove go by it."""

    user: str
    user_made: bool
    environment: str
    """Name of the folder that `current` leads to."""
    previous: str = ""
    """The one before it, which is kept."""
    target: str = ""
    runtime: str = ""
    unit: tuple[str, ...] = ()
    """Options of `board unit` that the operator gave: an upgrade writes the next unit with them."""

    def save(self, places: Places) -> None:
        """Write it, durably."""
        raw = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1).encode()
        OsFiles().write_atomic(places.record, raw)


def load(places: Places) -> Record:
    """Return the record, or raise MachineLacks where no agent was set up."""
    try:
        raw = json.loads(places.record.read_bytes())
    except FileNotFoundError as exc:
        raise MachineLacks(
            f"{places.home}: no agent was set up here; `sprat enrol token` prints the line that does"
        ) from exc
    except ValueError as exc:
        raise MachineLacks(f"{places.record} is damaged ({exc}); run the set-up again") from exc
    fields = Fields(raw, "board record")
    fields.schema(SCHEMA)
    return Record(
        user=fields.text("user", max_length=32),
        user_made=fields.boolean("user_made"),
        environment=fields.text("environment", max_length=128),
        previous=fields.text("previous", default="", max_length=128),
        target=fields.text("target", default="", max_length=63),
        runtime=fields.text("runtime", default="", max_length=16),
        unit=fields.items("unit", text, default=()),
    )
