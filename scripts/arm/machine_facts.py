"""Is the machine there what it shall be? Its core, its Python, and whether the wheel's requirements are met."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from typing import Any, Final

from packaging.requirements import Requirement
from rows import Table
from userland import Board, Userland

_FACTS: Final = """
import json, os, platform
cores = {line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("CPU part")}
print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), "libc": platform.libc_ver()[1],
    "bits": 8 * __import__("struct").calcsize("P"), "parts": sorted(cores), "cpu": os.environ.get("QEMU_CPU"),
    "sys": os.path.isdir("/sys/devices/system/cpu"), "root_is_writable": os.access("/usr", os.W_OK)}))
"""


def show(made: Userland, board: Board, table: Table) -> None:
    """Show what the machine is, and what of the wheel's requirements it lacks."""
    machine = made.machine
    done = subprocess.run([board.python, "-c", _FACTS], capture_output=True, text=True, check=False)
    facts: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()}
    found = f"{facts.get('machine', facts)}, {facts.get('bits')} bit, Python {facts.get('python')}, glibc {facts.get('libc')}"
    ok = (facts.get("machine"), facts.get("cpu"), facts.get("sys")) == (machine.arch, machine.cpu, True)
    ok = ok and facts.get("root_is_writable") is False
    table.show(machine.name, "machine", found, expected=f"{machine.arch}, /sys, read-only root", ok=ok)
    lacking = unmet(made)
    table.show(machine.name, "requirements of the wheel", ", ".join(lacking) or "met", expected="met")


def unmet(made: Userland) -> list[str]:
    """Return what the wheel asks for and the userland has not, or has in another version."""
    here = [str(folder) for folder in made.site_folders]
    versions = {d.name.lower().replace("_", "-"): d.version for d in importlib.metadata.distributions(path=here)}
    (wheel,) = importlib.metadata.distributions(name="sprat-device", path=here)
    extra = {"extra": "tflite"}
    asked = [Requirement(text) for text in wheel.requires or ()]
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate(extra)]
    return [
        f"{one} (found {versions.get(one.name.lower(), 'nothing')})"
        for one in wanted
        if not one.specifier.contains(versions.get(one.name.lower(), "0"))
    ]
