"""A wheelhouse: all that one kind of board needs to install the agent, and the SHA-256 of each of its files.

`manifest.json` is written by the host and read by boards before they believe any other file of the folder. Its own
trust comes from where it was got: the hub's verified TLS, or a digest that the operator compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import Digest, ModelName, digest, model_name

SCHEMA: Final = "sprat.wheelhouse/1"
MANIFEST: Final = "manifest.json"
REQUIREMENTS: Final = "requirements.txt"
MAX_MANIFEST: Final = 256 * 1024

# Paths on the hub's device port.
AGENT_PATH: Final = "/v1/agent/"
HOUSES_PATH: Final = "/v1/wheelhouses"

_FILE_NAME: Final = re.compile(r"(wheels/)?[A-Za-z0-9][A-Za-z0-9_+-]*(\.[A-Za-z0-9_+-]+)*", re.ASCII)
_PYTHON: Final = re.compile(r"3\.\d{1,2}", re.ASCII)
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{1,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HouseFile:
    """One file: its path in the folder, its SHA-256 and its length."""

    name: str
    sha256: Digest
    bytes: int


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """What a wheelhouse is for, and what is in it."""

    name: ModelName
    target: str
    arch: tuple[str, ...]
    """Machines as `uname -m` names them."""
    python: str
    """Such as `3.11`: wheels with code of their own run on this version only."""
    runtime: str
    agent: str
    """Version of the agent."""
    files: tuple[HouseFile, ...]
    installed_bytes: int = 0
    """What the environment takes on the board's disk, about."""
    debian: tuple[str, ...] = ()
    """Packages that the board's own system must bring, because the index has no wheels for it."""
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def agent_wheel(self) -> HouseFile:
        """Return the agent's own wheel."""
        return self._wheel("sprat_device")

    @property
    def pip_wheel(self) -> HouseFile:
        """Return the installer: boards need not have one."""
        return self._wheel("pip")

    @property
    def sealed_bytes(self) -> int:
        """Return what the files take as they are."""
        return sum(file.bytes for file in self.files)

    def dump(self) -> bytes:
        """Encode; the same wheelhouse gives the same bytes."""
        return (json.dumps(self._plain(), indent=1, sort_keys=True) + "\n").encode()

    def _plain(self) -> dict[str, object]:
        return {**self.extra, "schema": SCHEMA, **{k: v for k, v in asdict(self).items() if k != "extra"}}

    def _wheel(self, project: str) -> HouseFile:
        found = [file for file in self.files if file.name.startswith(f"wheels/{project}-")]
        if len(found) != 1:
            raise ContractError(f"wheelhouse {self.name}: {len(found)} wheels of {project}, expected 1; build it again")
        return found[0]


def parse(raw: bytes) -> Wheelhouse:
    """Read a manifest, or raise ContractError."""
    if len(raw) > MAX_MANIFEST:
        raise ContractError(f"wheelhouse: manifest of {len(raw)} bytes, at most {MAX_MANIFEST} are allowed")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError(f"wheelhouse: {MANIFEST} is not JSON; build or copy it again") from exc
    return _read(document)


def dump_list(houses: Iterable[Wheelhouse]) -> bytes:
    """Encode a hub's answer: every wheelhouse that it has."""
    return json.dumps({"wheelhouses": [house._plain() for house in houses]}).encode()


def parse_list(raw: bytes) -> tuple[Wheelhouse, ...]:
    """Read a hub's answer: every wheelhouse that it has."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise ContractError("wheelhouses: the hub's answer is not JSON; do both sides have the same version?") from exc
    return Fields(document, "wheelhouses").items("wheelhouses", lambda value, _where: _read(value))


def _read(document: object) -> Wheelhouse:
    fields = Fields(document, "wheelhouse")
    fields.schema(SCHEMA)
    return Wheelhouse(
        name=fields.value("name", model_name),
        target=fields.text("target", max_length=63),
        arch=fields.items("arch", text),
        python=fields.value("python", lambda value: _matching(_PYTHON, value, "a version such as 3.11")),
        runtime=fields.text("runtime", max_length=16),
        agent=fields.text("agent", max_length=64),
        files=fields.items("files", _file),
        installed_bytes=fields.integer("installed_bytes", default=0),
        debian=fields.items("debian", _package, default=()),
        extra=fields.rest(),
    )


def _file(raw: object, where: str) -> HouseFile:
    fields = Fields(raw, where)
    return HouseFile(
        # A closed alphabet without `..`: no name leads out of the folder.
        name=fields.value("name", lambda value: _matching(_FILE_NAME, value, "NAME or wheels/NAME")),
        sha256=fields.value("sha256", digest),
        bytes=fields.integer("bytes"),
    )


def _package(raw: object, where: str) -> str:
    return _matching(_PACKAGE, raw, "the name of a Debian package", where=f"{where}: ")


def _matching(pattern: re.Pattern[str], value: object, expected: str, *, where: str = "") -> str:
    if not isinstance(value, str) or len(value) > 255 or pattern.fullmatch(value) is None:
        raise ContractError(f"{where}found {str(value)[:80]!r}, expected {expected}")
    return value
