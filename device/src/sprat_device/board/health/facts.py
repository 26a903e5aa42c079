"""What does not change while the agent runs: the machine, and the versions of what runs on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from sprat_device.board.arch import arch
from sprat_device.board.health.reading import KIB


def facts(*, runtimes: Mapping[str, str], agent: str) -> dict[str, object]:
    """Return the `facts` of the reported twin, but for those that `Health.standing` adds."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "arch": arch(),
        "cores": os.cpu_count() or 1,
        "ram_kib": pages // KIB,
        "runtimes": dict(runtimes),
        **versions(agent=agent),
    }


def versions(*, agent: str, os_release: Path = Path("/etc/os-release")) -> dict[str, str]:
    """Return the versions of agent, Python, operating system and kernel, as far as they are told."""
    found = {"agent": agent, "python": platform.python_version(), "kernel": platform.release(), "os": _os(os_release)}
    return {name: version[:64] for name, version in found.items() if version}


def _os(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    return named.get("PRETTY_NAME", named.get("ID", "")).strip("\"'")
