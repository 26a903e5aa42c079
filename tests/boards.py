"""A board below a folder: programs on PATH that stand in for systemd, useradd and dpkg, and really start the agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

QUICK = ("--start-s", "90", "--settle-s", "1")
"""How patient commands are in tests."""
_HEAD = f"#!{sys.executable} -I\nimport os, pathlib, re, shlex, signal, subprocess, sys, time\n"
_COMMON = """
here = pathlib.Path(__file__).resolve().parent.parent
root = here / "root"
with (here / "calls").open("a") as log:
    log.write(shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + chr(10))
"""
# What systemd does with a unit and its drop-ins: the last ExecStart counts, an empty one forgets those before it.
_SYSTEMCTL = """
unit, pid_file = "sprat-device.service", here / "pid"
etc, run = root / "etc/systemd/system", root / "run/systemd/system"
loaded = here / "loaded"

def alive():
    try:
        pid = int(pid_file.read_text())
        return pid if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" else 0
    except (FileNotFoundError, ProcessLookupError):
        return 0

def stop():
    pid = alive()
    if pid:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not alive():
                break
            time.sleep(0.05)
        else:
            os.kill(pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)

def start():
    if not (etc / unit).exists():
        sys.exit(f"Failed to restart {unit}: Unit {unit} not found.")
    command = ""
    for line in loaded.read_text().splitlines():
        if line.startswith("ExecStart="):
            command = line.removeprefix("ExecStart=") or ""
    with (here / "journal").open("ab") as journal:
        child = subprocess.Popen(shlex.split(command), stdout=journal, stderr=journal, stdin=subprocess.DEVNULL,
                                 start_new_session=True, cwd="/")
    (here / "pid.new").write_text(str(child.pid))
    (here / "pid.new").replace(pid_file)  # whoever reads it finds the old one or the whole new one

verb, rest = sys.argv[1], sys.argv[2:]
if (here / f"refuse-{verb}").exists():
    sys.exit(f"Failed to {verb} {unit}: Access denied")
if verb == "daemon-reload":
    parts = [etc / unit, *sorted((run / f"{unit}.d").glob("*.conf"))]
    loaded.write_text(chr(10).join(part.read_text() for part in parts if part.exists()))
elif verb == "enable":
    assert unit in rest and (etc / unit).exists()
    (here / "enabled").touch()
elif verb == "disable":
    (here / "enabled").unlink(missing_ok=True)
    if "--now" in rest:
        stop()
elif verb == "restart":
    stop()
    start()
elif verb == "stop":
    stop()
elif verb == "is-active":
    sys.exit(0 if alive() else 3)
elif verb != "reset-failed":
    sys.exit(f"Unknown command verb {verb}.")
"""
_USERADD = """
passwd = pathlib.Path(sys.argv[sys.argv.index("--prefix") + 1]) / "etc/passwd"
passwd.parent.mkdir(parents=True, exist_ok=True)
with passwd.open("a") as users:
    users.write(f"{sys.argv[-1]}:x:{os.getuid()}:{os.getgid()}::/:/usr/sbin/nologin" + chr(10))
"""
_USERDEL = """
passwd = pathlib.Path(sys.argv[sys.argv.index("--prefix") + 1]) / "etc/passwd"
passwd.write_text("".join(line for line in passwd.open() if not line.startswith(sys.argv[-1] + ":")))
"""
_DPKG = """
installed = here / "debian"
if not installed.exists() or sys.argv[-1] not in installed.read_text().split():
    sys.exit(f"dpkg-query: no packages found matching {sys.argv[-1]}")
print("installed", end="")
"""
_APT = """
with (here / "debian").open("a") as installed:
    installed.write(" ".join(a for a in sys.argv[2:] if not a.startswith("-")) + chr(10))
"""
_PROGRAMS = {
    "systemctl": _SYSTEMCTL, "useradd": _USERADD, "userdel": _USERDEL, "dpkg-query": _DPKG, "apt-get": _APT,
}  # fmt: skip


@dataclass
class FakeBoard:
    """A board's root, and what its programs were told."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        self.root.mkdir()
        for name, body in _PROGRAMS.items():
            program = self.folder / "bin" / name
            program.write_text(_HEAD + _COMMON + body)
            program.chmod(0o755)
        # The board's own Python, with nothing but its standard library: a fresh board has no more.
        python = self.folder / "bin" / "python3"
        python.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -S "$@"\n')
        python.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/sprat"

    @property
    def current(self) -> Path:
        return self.root / "opt/sprat/current"

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def journal(self) -> str:
        file = self.folder / "journal"
        return file.read_text() if file.exists() else ""

    @property
    def pid(self) -> int:
        file = self.folder / "pid"
        return int(file.read_text()) if file.exists() else 0

    def runs(self) -> str:
        """Return the command line of the agent that runs, empty if none does."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ").strip() if self.pid else ""
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def files(self) -> set[str]:
        """Return all that lies below the root, but the list of users and empty folders of the system."""
        found = {str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_dir() or p.is_symlink()}
        return found - {"etc/passwd"}

    def end(self) -> None:
        """End the agent that this board's systemctl started."""
        if self.runs():
            os.kill(self.pid, signal.SIGTERM)
            for _ in range(200):
                if not self.runs():
                    return
                time.sleep(0.05)
            os.kill(self.pid, signal.SIGKILL)


def install(board: FakeBoard, house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the wheelhouse's install script, as from a stick."""
    return told(board, "sh", str(house / "install.sh"), "--root", str(board.root), *QUICK, *arguments)


def agent(board: FakeBoard, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the agent that is installed."""
    command = str(board.root / "usr/local/bin/sprat-device")
    return told(board, command, "board", verb, "--root", str(board.root), *arguments)


def told(board: FakeBoard, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=board.environment, timeout=400, cwd="/"
    )


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the error, which must be the last line, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(("sprat-device: ", "sprat: ")), done.stderr
    return last.partition(": ")[2]
