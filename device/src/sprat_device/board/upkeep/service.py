"""The agent's unit on this board: written, started and watched, run on trial with another environment, taken away.

A trial is a drop-in below /run with the new agent's own unit: nothing that outlives a power cut says anything of the
new agent before it has proven itself.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from sprat_device.board.files import OsFiles
from sprat_device.board.upkeep import environments
from sprat_device.board.upkeep.places import BoardRefused, Record
from sprat_device.board.upkeep.site import Site
from sprat_device.board.upkeep.watch import await_well, look

_READABLE: Final = 0o644
_NO_TMP: Final = (
    "the system's /tmp is read-only, and systemd up to 252 makes the unit's own /dev there (status=226/NAMESPACE): "
    "mount a tmpfs there"
)
_UNBOUNDED: Final = (
    "this kernel keeps no memory limit of a service; "
    "add cgroup_enable=memory at the end of the line in /boot/firmware/cmdline.txt, and restart the board"
)


def text(site: Site, environment: Path, *, python: Path, record: Record) -> str:
    """Return the unit as the agent of that environment writes it: another version may need another unit."""
    told = environments.run(
        environment, "board", "unit", "--python", str(python), "--state", str(site.at.state), "--user", record.user,
        *record.unit,
    )  # fmt: skip
    if told.returncode != 0 or "\nExecStart=" not in told.stdout:
        raise BoardRefused("broken-agent", f"the agent writes no unit ({environments.last_line(told)}); build it anew")
    return told.stdout


def write(site: Site, unit: str) -> bool:
    """Write the unit durably, let systemd read it, and tell whether it is another than before."""
    before = site.at.unit.read_text("utf-8") if site.at.unit.exists() else ""
    _write(site.at.unit, unit)
    site.machine.reload()
    if "\nMemoryMax=" in unit and not site.machine.bounds_memory():
        site.say(_UNBOUNDED)
    if "\nPrivateDevices=yes" in unit and not site.machine.writes_tmp():
        site.say(_NO_TMP)
    return unit != before


def restart(site: Site, agent: str) -> str:
    """Start the agent anew and return an empty string once it is well, else why it is not."""
    before = look(site.at.state)
    site.machine.restart()
    return await_well(site.at.state, before, agent, site.patience, active=site.machine.active)


def drop_in(unit: str) -> str:
    """Return a unit's service section as what takes the place of another's: commands add up, so they begin empty."""
    section = unit.partition("[Service]")[2].partition("\n[")[0].strip().splitlines()
    commands = sorted({line.partition("=")[0] for line in section if line.startswith("Exec")})
    return "\n".join(["[Service]", *(f"{command}=" for command in commands), *section, ""])


def begin_trial(site: Site, unit: str) -> None:
    """Let the next start run by another unit's service section, until `end_trial` or the next boot."""
    _write(site.at.trial, drop_in(unit))
    site.machine.reload()


def end_trial(site: Site) -> bool:
    """Take the drop-in away, if there is one; what runs goes on until the next start."""
    if not site.at.trial.exists():
        return False
    site.at.trial.unlink()
    with suppress(OSError):  # an operator's own drop-in may lie there too
        site.at.trial.parent.rmdir()
    site.machine.reload()
    return True


def _write(path: Path, unit: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    OsFiles().write_atomic(path, unit.encode())
    path.chmod(_READABLE)
