"""Environments of the agent: one folder each, made whole beside the one that runs; a link says which one counts.

The board needs no pip and no `python3-venv`: the wheelhouse brings the installer, and the folder is made without one.
A folder without its mark is what a cut left, and is made anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sprat_device.board.files import OsFiles
from sprat_device.board.upkeep.house import House
from sprat_device.board.upkeep.places import BoardRefused, Places
from sprat_device.contract.errors import MachineLacks
from sprat_device.contract.wheelhouse import REQUIREMENTS

MARK: Final = "complete"
_SPARE_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 1800
_HERE_NOTHING: Final = "-P"
"""Python's option: root may stand in a folder of somebody else's, and no module is taken from there."""
_PARTS: Final = "import sprat_device.daemon, sprat_device.install.updater, sprat_device.board.enrol"
"""Imports all that the agent's processes consist of; what is missing says its own name."""
_HEALTH: Final = "sprat_device.inference.runtimes.health"
"""Builds an interpreter with one runtime and runs it."""


def is_whole(folder: Path) -> bool:
    """Tell whether an environment was made to its end."""
    return (folder / MARK).is_file()


def require_room(folder: Path, needed_bytes: int) -> None:
    """Raise MachineLacks where the disk cannot take it; `folder` or a parent of it exists."""
    while not folder.exists():
        folder = folder.parent
    free = OsFiles().free_bytes(folder)
    if free < needed_bytes + _SPARE_BYTES:
        raise MachineLacks(
            f"{folder}: {free / 1e6:.0f} MB are free, the agent needs {(needed_bytes + _SPARE_BYTES) / 1e6:.0f} MB; "
            "make room, or take a larger card"
        )


def make(places: Places, house: House, say: Callable[[str], None]) -> Path:
    """Make the environment of a verified wheelhouse and try it, or leave nothing; one that is whole is kept."""
    folder = places.environments / house.environment
    if is_whole(folder):
        return folder
    require_room(places.home, house.manifest.installed_bytes)
    remove(folder)
    places.environments.mkdir(parents=True, exist_ok=True)
    try:
        say(f"making {folder}")
        venv.create(folder, with_pip=False, symlinks=True, system_site_packages=bool(house.manifest.debian))
        say(f"installing agent {house.manifest.agent} with {house.manifest.runtime}")
        _install(folder, house)
        _compile(folder)
        _try(folder, house)
        _seal(folder)
    except BaseException:
        remove(folder)  # nothing half-made stays behind
        raise
    return folder


def run(
    folder: Path, *arguments: str, sent: str | None = None, ids: tuple[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment's agent to its end; root runs it as the user and group of `ids`, if given."""
    return _python(folder, "-m", "sprat_device", *arguments, sent=sent, ids=ids)


def version(folder: Path) -> str:
    """Return the version of an environment's agent, empty where it does not even tell that."""
    return run(folder, "--version").stdout.strip().rpartition(" ")[2]


def switch(places: Places, folder: Path) -> None:
    """Let the link lead to an environment: the old one or the new one, never neither."""
    fresh = places.current.with_name(".current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.relative_to(places.home))
    fresh.replace(places.current)
    OsFiles().sync_folder(places.home)


def keep_only(places: Places, *names: str) -> None:
    """Remove every environment but these."""
    for folder in places.environments.iterdir():
        if folder.name not in names:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove an environment; its mark goes first, so that a cut leaves none that looks whole."""
    (folder / MARK).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program said last."""
    said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return said[-1].strip() if said else f"exit {done.returncode}, and said nothing"


def _install(folder: Path, house: House) -> None:
    pip = house.path(house.manifest.pip_wheel) / "pip"
    scratch = folder / "tmp"  # not /tmp, which is memory on many boards
    scratch.mkdir()
    command = [str(folder / "bin/python"), str(pip), "install", "--isolated", "--quiet", "--no-index", "--no-deps",
               "--require-hashes", "--no-compile", "--no-cache-dir", "--no-input", "--disable-pip-version-check",
               "--no-warn-script-location", "--root-user-action", "ignore", "--find-links",
               str(house.folder / "wheels"), "-r", str(house.folder / REQUIREMENTS)]  # fmt: skip
    environment = {**_environment(), "TMPDIR": str(scratch), "PIP_CONFIG_FILE": os.devnull}
    # With the board's lock (close_fds): where we are killed, no command begins while pip goes on.
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=environment, close_fds=False
    )
    shutil.rmtree(scratch)
    if done.returncode != 0:
        raise MachineLacks(f"the agent's packages cannot be installed: {last_line(done)}")


def _compile(folder: Path) -> None:
    """Write the bytecode of the unit's Python level and of commands: the agent's user may not write it later."""
    command = [str(folder / "bin/python"), _HERE_NOTHING, "-m", "compileall", "-qq", "-j", "0", "-o", "0", "-o", "2",
               str(folder / "lib")]  # fmt: skip
    # A file of a package that this Python cannot read (its tests, for another version) is no reason to stop.
    subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S, env=_environment(), close_fds=False)


def _try(folder: Path, house: House) -> None:
    """Ask the new agent for its version, import its parts and run its runtime, before anything relies on it."""
    if version(folder) != house.manifest.agent:
        why = last_line(run(folder, "--version"))
        raise BoardRefused("broken-agent", f"the new agent does not start: {why}; build the wheelhouse anew")
    # At the unit's level: what it imports of the system's own library is compiled for it here, as root.
    for what in (["-OO", "-c", _PARTS], ["-m", _HEALTH, house.manifest.runtime]):
        done = _python(folder, *what)
        if done.returncode != 0:
            why = last_line(done)
            raise BoardRefused("broken-agent", f"the new agent lacks something: {why}; build the wheelhouse anew")


def _seal(folder: Path) -> None:
    """Bring every file to the disk, then say that the environment is whole."""
    os.sync()
    OsFiles().write_atomic(folder / MARK, b"")


def _python(
    folder: Path, *arguments: str, sent: str | None = None, ids: tuple[int, int] | None = None
) -> subprocess.CompletedProcess[str]:
    user, group = ids if ids is not None and os.geteuid() == 0 else (None, None)
    return subprocess.run(
        [str(folder / "bin/python"), _HERE_NOTHING, *arguments], capture_output=True, text=True, check=False, input=sent,
        timeout=_TIMEOUT_S, env=_environment(), user=user, group=group, extra_groups=None if user is None else (),
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """Return this process' environment without what would lead Python elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
