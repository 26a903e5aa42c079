"""Is the machine there what it shall be? Its core, its Python, and whether the wheel's requirements are met."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from rows import Table
from userland import Board, Userland, from_debian

_THERE: Final = {"python_version": "3.11", "python_full_version": "3.11.2", "platform_python_implementation": "CPython"}
_CORES: Final = Path(__file__).parent / "cores"
_FACTS: Final = """
import json, os, platform
cores = {line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("CPU part")}
print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), "libc": platform.libc_ver()[1],
    "bits": 8 * __import__("struct").calcsize("P"), "parts": sorted(cores), "cpu": os.environ.get("QEMU_CPU"),
    "sys": os.path.isdir("/sys/devices/system/cpu"), "root_is_writable": os.access("/usr", os.W_OK)}))
"""


def show(made: Userland, board: Board, table: Table) -> None:
    """Show what the machine is, and on its first core what of the wheel's requirements it lacks."""
    machine = made.machine
    done = subprocess.run([board.python, "-c", _FACTS], capture_output=True, text=True, check=False)
    facts: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}
    found = f"{facts.get('machine', facts)}, {facts.get('bits')} bit, Python {facts.get('python')}, glibc {facts.get('libc')}"
    wrong = differing(facts, arch=machine.arch, core=board.core, parts=_parts(board.core))
    table.show(
        machine.name, f"machine ({board.core})", ", ".join([found, *wrong]),
        expected=f"{machine.arch}, the core and its cpuinfo, /sys, read-only root", ok=not wrong,
    )  # fmt: skip
    if board.is_first:
        _show_requirements(made, table)


def differing(facts: Mapping[str, Any], *, arch: str, core: str, parts: Sequence[str]) -> list[str]:
    """Return what is not as the results there need it: the three conditions of firmware-notes/emulation.md, and more."""
    expected = {"machine": arch, "cpu": core, "sys": True, "parts": list(parts), "root_is_writable": False}
    return [f"{name} is {facts.get(name)!r}" for name, value in expected.items() if facts.get(name) != value]


def _parts(core: str) -> list[str]:
    lines = (_CORES / f"{core}.cpuinfo").read_text().splitlines()
    return sorted({line.split(":")[1].strip() for line in lines if line.startswith("CPU part")})


def _show_requirements(made: Userland, table: Table) -> None:
    machine = made.machine
    needed = _needed(made)
    # What another package stands in for, as Debian's python3-cffi-backend for cffi, is proven by what runs on it.
    backed = {name for name in from_debian(machine) if name not in {_plain(d.name) for _, d in needed if d}}
    lacking = [f"{r} (found {_version(d)})" for r, d in needed if not _fits(r, d) and _plain(r.name) not in backed]
    mib = sum(_bytes(dist) for dist in {_plain(d.name): d for _, d in needed if d}.values()) / 2**20
    told = ", ".join(lacking) or f"met, {mib:.0f} MiB on disk"
    table.show(machine.name, "requirements of the wheel with tflite-runtime", told, expected="met", ok=not lacking)


def _needed(made: Userland) -> list[tuple[Requirement, Distribution | None]]:
    """Return the wheel and what it asks for, itself and by its requirements, with what is there of it."""
    found = {_plain(d.name): d for d in distributions(path=[str(folder) for folder in made.site_folders])}
    needed: dict[Requirement, Distribution | None] = {}
    waiting = [Requirement("sprat-device[tflite]")]
    while waiting:
        one = waiting.pop()
        dist = needed[one] = found.get(_plain(one.name))
        asked = [Requirement(text) for text in (dist.requires if dist else None) or ()]
        extras = one.extras or {""}
        wanted = [
            r for r in asked if r.marker is None or any(r.marker.evaluate({**_THERE, "extra": e}) for e in extras)
        ]
        waiting += [r for r in wanted if r not in needed]
    return list(needed.items())


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _version(dist: Distribution | None) -> str:
    return dist.version if dist else "nothing"


def _fits(one: Requirement, dist: Distribution | None) -> bool:
    return dist is not None and one.specifier.contains(dist.version)


def _bytes(dist: Distribution) -> int:
    """Count a wheel's files; Debian keeps no list beside its packages, but a folder of the same name."""
    if dist.files:
        places = [Path(str(dist.locate_file(file))) for file in dist.files]
    else:
        places = list(Path(str(dist.locate_file(_plain(dist.name)))).rglob("*"))
    return sum(place.stat().st_size for place in places if place.is_file())
