"""Runs `sprat` and `sprat-device` commands as a user would type them, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sprat.errors import SpratError


class CommandFailed(SpratError):
    """A command of the rehearsal ended with an exit code that was not expected; its own error line is in the message."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run; `echo` is told each one before it starts (secrets stand in `env`, not on command lines)."""

    echo: Callable[[str], None]
    env: dict[str, str] = field(default_factory=dict)

    def sprat(self, *arguments: str, timeout_s: float = 600) -> dict[str, Any]:
        """Run `sprat ARGUMENTS --json` and return its document."""
        self.echo("sprat " + " ".join(shown(arguments)))
        return self._json([sys.executable, "-m", "sprat.cli", *arguments, "--json"], timeout_s, self.host_env())

    def device(self, python: Path, *arguments: str, timeout_s: float = 120) -> dict[str, Any]:
        """Run `sprat-device ARGUMENTS --json` with the Python of a device's environment and return its document."""
        self.echo("sprat-device " + " ".join(shown(arguments)))
        return self._json([str(python), "-m", "sprat_device", *arguments, "--json"], timeout_s, device_env())

    def host_env(self) -> dict[str, str]:
        """Return the environment of the workstation's and the hub's commands."""
        return {**os.environ, **self.env}

    def start(self, command: Sequence[str], log: Path, *, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a long-running process whose output goes to a log file."""
        with log.open("ab") as sink:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=dict(env)
            )

    def _json(self, command: list[str], timeout_s: float, env: Mapping[str, str]) -> dict[str, Any]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, env=dict(env))
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode} without a word"]
            raise CommandFailed(f"{' '.join(command[2:5])} … failed: {said[0]}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document


def device_env() -> dict[str, str]:
    """Return the environment of a device's processes: nothing of the workstation's settings and secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SPRAT_")}


def shown(arguments: Sequence[str]) -> list[str]:
    """Return arguments as they may be shown: an enrolment token is cut, long folders lose their front."""
    cut = [f"{a[:12]}…" if a.startswith("sprat1.") else a for a in arguments]
    return [f"…/{Path(a).name}" if a.startswith("/") else a for a in cut]


def stop(process: subprocess.Popen[bytes], *, timeout_s: float = 15) -> int:
    """Ask a process to end and wait; what does not listen is killed. Returns its exit code."""
    process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
