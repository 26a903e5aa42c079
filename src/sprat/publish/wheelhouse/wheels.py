"""Gets the wheels of a board: walks what each needs on the board's machine and Python, and lets pip fetch exactly that.

pip's own resolver reads markers for the Python that it runs on, not for the board's; so each wheel is fetched alone,
under its pinned version, and what it needs is read from its own metadata.
"""

from __future__ import annotations

import email.parser
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from sprat.errors import HubUnreachable, MachineLacks, Refused
from sprat.publish.wheelhouse.pins import pinned
from sprat.publish.wheelhouse.platforms import Platform

INSTALLER: Final = "pip"
_NO_MATCH: Final = ("No matching distribution found", "Could not find a version")
_FULL: Final = "No space left on device"


def collect(
    agent: Path, extra: str, platform: Platform, pins: Mapping[str, str], *, left_out: Iterable[str],
    folder: Path, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Fetch all that `agent[extra]` needs, and the installer, into a folder; `left_out` is what the system brings."""
    seen: set[str] = {canonicalize_name(name) for name in left_out}
    wanted = {INSTALLER: pinned(Requirement(INSTALLER), pins, needed_by="the wheelhouse")}
    wanted |= _needs(agent, (extra,), platform, pins, seen)
    while wanted := {name: version for name, version in wanted.items() if name not in seen}:
        say("fetching " + ", ".join(f"{name} {version}" for name, version in sorted(wanted.items())))
        before = set(folder.glob("*.whl"))
        _download(wanted, platform, folder)
        seen |= set(wanted)
        wanted = {}
        for wheel in sorted(set(folder.glob("*.whl")) - before):
            wanted |= _needs(wheel, (), platform, pins, seen)


def requirements(wheels: Iterable[tuple[str, str]]) -> str:
    """Write what to install, with hashes, from (file name, SHA-256) of every wheel but the installer's."""
    lines = []
    for name, sha256 in sorted(wheels):
        project, version, _, _ = parse_wheel_filename(name)
        if project != INSTALLER:
            lines.append(f"{project}=={version} --hash=sha256:{sha256}\n")
    return "".join(lines)


def unpacked_bytes(wheels: Iterable[Path]) -> int:
    """Return what the wheels take once installed, with bytecode for two levels (each about as much as the source)."""
    total = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as held:
            total += sum(entry.file_size * (1 + 2 * entry.filename.endswith(".py")) for entry in held.infolist())
    return total


def _needs(
    wheel: Path, extras: Sequence[str], platform: Platform, pins: Mapping[str, str], seen: Iterable[str]
) -> dict[str, str]:
    """Return version by name of what a wheel needs on the board."""
    found: dict[str, str] = {}
    for text in _metadata(wheel).get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name not in seen and _applies(requirement, extras, platform):
            found[name] = pinned(requirement, pins, needed_by=wheel.name.split("-")[0])
    return found


def _applies(requirement: Requirement, extras: Sequence[str], platform: Platform) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**platform.markers, "extra": extra}) for extra in ("", *extras))


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as held:
        (name,) = (n for n in held.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
        return email.parser.BytesParser().parsebytes(held.read(name), headersonly=True)


def _download(wanted: Mapping[str, str], platform: Platform, folder: Path) -> None:
    arguments = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--only-binary=:all:", "--implementation", "cp", "--python-version", platform.python,
                 "--dest", str(folder)]  # fmt: skip
    arguments += [part for abi in platform.abis for part in ("--abi", abi)]
    arguments += [part for tag in platform.tags for part in ("--platform", tag)]
    arguments += [f"{name}=={version}" for name, version in sorted(wanted.items())]
    # A constraints file of the caller's environment is for another Python than the board's.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise _refused([line for line in done.stderr.splitlines() if line.startswith("ERROR")], platform)


def _refused(said: list[str], platform: Platform) -> Exception:
    last = said[-1].removeprefix("ERROR: ") if said else "pip gave no reason"
    if any(_FULL in line for line in said):
        return MachineLacks(f"{_FULL} while fetching wheels; make room, or give another --out")
    if any(mark in line for line in said for mark in _NO_MATCH):
        lacking = last.rpartition(" for ")[2]
        return Refused(
            "no-wheel",
            f"{lacking}: the package index has no wheel for Python {platform.python} on {platform.arch}; "
            "take another --runtime or --python, or name Debian's package for it in the target's [debian]",
        )
    return HubUnreachable(f"the package index gave no wheels ({last[:200]}); is it reachable from here?")
