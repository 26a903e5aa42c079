"""The board's own programs: systemctl, useradd, userdel, dpkg-query, found on PATH; and who owns what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board import alone
from sprat_device.board.arch import arch
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.contract.errors import MachineLacks

_TIMEOUT_S: Final = 120
_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine below a root."""

    root: Path

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let this process alone change the system; MachineLacks if it may not, or if another command is at it."""
        if self.root == _ROOT and os.geteuid() != 0:
            raise MachineLacks("this changes the system and needs root; put sudo before it")
        run = self.root / "run"
        with alone.hold_board(run) if run.is_dir() else nullcontext():  # below an empty root there is nothing yet
            yield

    @property
    def arch(self) -> str:
        """Return the machine that programs are for: a 32-bit system may run on a 64-bit kernel."""
        return arch()

    @property
    def python(self) -> str:
        """Return the version that environments here have, such as 3.11."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    def systemctl(self, *arguments: str) -> None:
        """Run systemctl, or raise MachineLacks with its last line."""
        _run(["systemctl", *arguments])

    def reload(self) -> None:
        """Let systemd read changed units."""
        self.systemctl("daemon-reload")

    def restart(self) -> None:
        """Start the agent anew, however often it has failed before."""
        _ended(["systemctl", "reset-failed", UNIT_NAME])  # systemd starts no unit that failed too often of late
        # Whether it comes up is watched by its own word; a unit that never gets ready would hold us here for minutes.
        self.systemctl("restart", "--no-block", UNIT_NAME)

    def active(self) -> bool:
        """Tell whether the agent's unit runs."""
        return _ended(["systemctl", "is-active", "--quiet", UNIT_NAME]) == 0

    def writes_tmp(self) -> bool:
        """Tell whether this root's /tmp can be written, if there is one."""
        place = self.root / "tmp"
        return not place.is_dir() or os.access(place, os.W_OK)

    def journal(self) -> str:
        """Return the command that shows what the agent said."""
        return f"journalctl -u {UNIT_NAME}"

    def bounds_memory(self) -> bool:
        """Tell whether the kernel keeps a unit's memory limit; one that does not tell is taken to."""
        try:
            controllers = (self.root / "sys/fs/cgroup/cgroup.controllers").read_text("ascii")
        except OSError:
            return True
        return "memory" in controllers.split()

    def has_user(self, user: str) -> bool:
        """Tell whether a user is known here."""
        return self.ids(user) is not None

    def make_user(self, user: str, home: Path) -> None:
        """Make a system user without a login."""
        _run(["useradd", *self._prefix(), "--system", "--user-group", "--no-create-home", "--home-dir", str(home),
              "--shell", "/usr/sbin/nologin", user])  # fmt: skip

    def drop_user(self, user: str) -> None:
        """Remove a user."""
        _run(["userdel", *self._prefix(), user])

    def give(self, folder: Path, user: str) -> None:
        """Make a user own a folder and everything in it."""
        ids = self.ids(user)
        if ids is None:
            raise MachineLacks(f"user {user}: not known here; run the set-up again")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *ids, follow_symlinks=False)

    def lacking(self, packages: Iterable[str]) -> list[str]:
        """Return which Debian packages are not installed."""
        wanted = sorted(packages)
        if wanted and shutil.which("dpkg-query") is None:
            raise MachineLacks(f"dpkg-query is missing; this wheelhouse is for Debian, which brings {' '.join(wanted)}")
        return [name for name in wanted if not self._installed(name)]

    def install_packages(self, packages: Sequence[str]) -> None:
        """Let apt install packages."""
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], timeout_s=3600)

    def _installed(self, package: str) -> bool:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False
        )
        return done.returncode == 0 and done.stdout.strip() == "installed"

    def _prefix(self) -> list[str]:
        return [] if self.root == _ROOT else ["--prefix", str(self.root)]

    def ids(self, user: str) -> tuple[int, int] | None:
        """Return user and group id, from this root's own list; None for one who is not in it."""
        try:
            lines = (self.root / "etc/passwd").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return None
        for line in lines:
            name, _, rest = line.partition(":")
            if name == user:
                _, uid, gid, *_ = rest.split(":")
                return int(uid), int(gid)
        return None


def _run(command: Sequence[str], *, timeout_s: float = _TIMEOUT_S) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except FileNotFoundError as exc:
        raise MachineLacks(f"{command[0]} is missing on this board; the agent is set up on Linux with systemd") from exc
    except subprocess.TimeoutExpired as exc:
        raise MachineLacks(f"{' '.join(command[:3])}: no end within {timeout_s:.0f} s; see its log") from exc
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise MachineLacks(f"{' '.join(command[:3])} failed: {said[-1] if said else f'exit {done.returncode}'}")


def _ended(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S).returncode
    except FileNotFoundError as exc:
        raise MachineLacks(f"{command[0]} is missing on this board; the agent is set up on Linux with systemd") from exc
