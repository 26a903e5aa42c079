"""Runs the device's own programs elsewhere: a fresh process here, the Python of another environment, or a device.

A runner answers what the device would: which runtimes it has, an artifact's raw outputs for many readings, and a
check's figures. Every figure says where it was taken.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sprat.compiler.runners.remote import SshRunner
from sprat.compiler.runners.running import Arrays, RunnerFailed, answers_in, ending, last_line, runtimes_said
from sprat.data.table import write_table
from sprat.errors import GateFailed, MachineLacks, WrongUse

_TIMEOUT_S: Final = 600
_ASK: Final = "import json; from sprat_device.inference.runtimes import available; print(json.dumps(available()))"


class Runner(Protocol):
    """Where the device's programs run."""

    @property
    def name(self) -> str:
        """Return how a user names it: `local`, `env:NAME`, `ssh:HOST`."""
        ...

    def runtimes(self) -> Mapping[str, str]:
        """Return the runtimes it has, with their versions."""
        ...

    def infer(self, bundle: Path, inputs: Arrays, *, runtime: str) -> Arrays:
        """Return raw output tensors by name for rows of readings."""
        ...

    def check(self, bundle: Path, *, runtime: str | None, skip_golden: bool = False) -> Mapping[str, Any]:
        """Return the check's own document, whether it is ok or not."""
        ...


@dataclass(frozen=True, slots=True)
class ProgramRunner:
    """The device's programs under one Python, each call a process of its own."""

    name: str
    python: Path

    def runtimes(self) -> Mapping[str, str]:
        """Ask the environment, which costs one short process."""
        done = self._run(["-c", _ASK])
        found = runtimes_said(done.stdout) if done.returncode == 0 else None
        if found is None:
            said = last_line(done.stderr) or last_line(done.stdout) or ending(done.returncode)
            raise MachineLacks(
                f"runner {self.name}: sprat-device does not run there ({said}); make it again with `sprat runtimes add`"
            )
        return found

    def infer(self, bundle: Path, inputs: Arrays, *, runtime: str) -> Arrays:
        """Run all rows through `sprat-device infer --raw`."""
        with tempfile.TemporaryDirectory(prefix="sprat-infer-") as folder:
            readings, answers = Path(folder) / "in.npz", Path(folder) / "out.npz"
            write_table(readings, inputs)
            done = self._run(
                ["-m", "sprat_device", "infer", str(bundle), str(readings), "--output", str(answers), "--raw",
                 "--runtime", runtime]
            )  # fmt: skip
            if done.returncode != 0:
                raise RunnerFailed(last_line(done.stderr) or f"infer ended with {ending(done.returncode)}")
            return answers_in(answers, runner=self.name)

    def check(self, bundle: Path, *, runtime: str | None, skip_golden: bool = False) -> Mapping[str, Any]:
        """Run `sprat-device check` and read its document."""
        arguments = ["-m", "sprat_device.inference.check", str(bundle), "--json"]
        arguments += ["--runtime", runtime] if runtime else []
        arguments += ["--skip-golden"] if skip_golden else []
        done = self._run(arguments)
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError as exc:
            said = last_line(done.stderr) or f"check ended with {ending(done.returncode)}"
            raise RunnerFailed(f"runner {self.name}: {said}") from exc
        return {**document, "exit_code": done.returncode, "where": f"host ({self.name})"}

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        # Nothing of the caller's environment may leak into another environment's imports.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        try:
            return subprocess.run(
                [str(self.python), *arguments], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
                env=environment,
            )  # fmt: skip
        except OSError as exc:
            raise MachineLacks(f"runner {self.name}: {self.python} cannot be run ({exc.strerror})") from exc
        except subprocess.TimeoutExpired as exc:
            raise RunnerFailed(f"runner {self.name}: no answer after {_TIMEOUT_S} s") from exc


def local() -> ProgramRunner:
    """Return the runner of this very environment."""
    return ProgramRunner("local", Path(sys.executable))


def environment(runtimes_dir: Path, name: str) -> ProgramRunner:
    """Return the runner of an environment that `sprat runtimes add` made, or say how to make it."""
    python = runtimes_dir / name / "bin" / "python"
    if not python.exists():
        raise MachineLacks(f"environment {name!r} is not in {runtimes_dir}; make it with `sprat runtimes add {name}`")
    return ProgramRunner(f"env:{name}", python)


def runners(runtimes_dir: Path, wanted: str = "") -> tuple[Runner, ...]:
    """Return the wanted runner (`local`, `env:NAME`, `ssh:HOST`), or every one of this machine."""
    kind, _, name = wanted.partition(":")
    match kind:
        case "":
            others = sorted(path.parents[1].name for path in runtimes_dir.glob("*/bin/python"))
            return (local(), *(environment(runtimes_dir, other) for other in others))
        case "local" if not name:
            return (local(),)
        case "env" if name:
            return (environment(runtimes_dir, name),)
        case "ssh" if name:
            return (SshRunner.named(name),)
        case _:
            raise WrongUse(f"--runner {wanted!r}: expected local, env:NAME or ssh:HOST")


def where() -> dict[str, str]:
    """Return what machine the figures were taken on."""
    return {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}


def require_ok(document: Mapping[str, Any]) -> None:
    """Raise what a check's document says, by its exit code."""
    if document.get("ok"):
        return
    sentence = str(document.get("detail") or "the check failed")
    if document.get("exit_code") == 4:
        raise MachineLacks(sentence)
    if document.get("exit_code") == 2:
        raise WrongUse(sentence)
    raise GateFailed(str(document.get("reason") or "check-failed"), sentence)
