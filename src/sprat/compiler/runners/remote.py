"""The runner `ssh:HOST`: the device's own programs on the device itself, over the ssh program of this machine.

Nothing but ssh, a POSIX shell and `sprat-device` is needed there. Files go through stdin and stdout; every word of a
remote command is quoted, as the shell at the other end reads it again. BatchMode: a password is never asked for.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from sprat.compiler.runners.running import Arrays, RunnerFailed, answers_in, ending, last_line, runtimes_said
from sprat.data.table import write_table
from sprat.errors import MachineLacks, WrongUse

_TIMEOUT_S: Final = 600
_CONNECT_S: Final = 15
_MAX_BYTES: Final = 4 * 1024**3
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_\[][\w.:%\]-]*")
"""`user@host`, a name or an address; nothing that begins like an option of ssh."""
_FOLDER: Final = re.compile(r"/[\w./-]+")
_SSH_FAILED: Final = 255
_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class SshRunner:
    """The device's programs on one host that `ssh HOST` reaches without a password."""

    host: str

    @classmethod
    def named(cls, host: str) -> SshRunner:
        """Return the runner of a host; WrongUse where the name is none."""
        if not _HOST.fullmatch(host):
            raise WrongUse(f"--runner ssh:{host!r}: expected ssh:HOST or ssh:USER@HOST")
        return cls(host)

    @property
    def name(self) -> str:
        """Return how a user names it."""
        return f"ssh:{self.host}"

    def runtimes(self) -> Mapping[str, str]:
        """Ask the device, which costs one connection."""
        done = self._ssh(["sprat-device", "check", "--runtimes"])
        found = runtimes_said(done.stdout, key="runtimes") if done.returncode == 0 else None
        if found is None:
            raise MachineLacks(f"runner {self.name}: {_said(done)}; bring the device's sprat-device to this version")
        return found

    def infer(self, bundle: Path, inputs: Arrays, *, runtime: str) -> Arrays:
        """Run all rows through `sprat-device infer --raw` there."""
        with tempfile.TemporaryDirectory(prefix="sprat-infer-") as name, self._folder() as there:
            readings, answers = Path(name) / "in.npz", Path(name) / "out.npz"
            write_table(readings, inputs)
            self._send(bundle, f"{there}/bundle.sprat")
            self._send(readings, f"{there}/in.npz")
            done = self._ssh(
                ["sprat-device", "infer", f"{there}/bundle.sprat", f"{there}/in.npz", "--output", f"{there}/out.npz",
                 "--raw", "--runtime", runtime]
            )  # fmt: skip
            if done.returncode != 0:
                raise RunnerFailed(f"runner {self.name}: {_said(done)}")
            with answers.open("wb") as file:
                self._require(self._ssh(["head", "-c", str(_MAX_BYTES), f"{there}/out.npz"], stdout=file))
            return answers_in(answers, runner=self.name)

    def check(self, bundle: Path, *, runtime: str | None, skip_golden: bool = False) -> Mapping[str, Any]:
        """Run `sprat-device check` there and read its document."""
        with self._folder() as there:
            self._send(bundle, f"{there}/bundle.sprat")
            command = ["sprat-device", "check", f"{there}/bundle.sprat", "--json"]
            command += ["--runtime", runtime] if runtime else []
            command += ["--skip-golden"] if skip_golden else []
            done = self._ssh(command)
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError as exc:
            raise RunnerFailed(f"runner {self.name}: {_said(done)}") from exc
        where = f"device ({self.name}, {document.get('machine', 'unknown machine')})"
        return {**document, "bundle": str(bundle), "exit_code": done.returncode, "where": where}

    @contextmanager
    def _folder(self) -> Iterator[str]:
        """Make a folder there, and remove it at the end."""
        made = self._ssh(["mktemp", "-d", "/tmp/sprat-XXXXXXXX"])  # noqa: S108 - mktemp makes it, mode 0700
        self._require(made)
        folder = made.stdout.decode("utf-8", "replace").strip()
        if not _FOLDER.fullmatch(folder) or ".." in folder:
            raise RunnerFailed(f"runner {self.name}: mktemp gave {folder[:80]!r}, expected a path")
        try:
            yield folder
        finally:
            # Its result does not matter: what is left is in /tmp, and an error here would hide the one that counts.
            self._run(["rm", "-rf", "--", folder])

    def _send(self, path: Path, place: str) -> None:
        with path.open("rb") as file:
            self._require(self._ssh(["sh", "-c", f"cat > {shlex.quote(place)}"], stdin=file))

    def _require(self, done: subprocess.CompletedProcess[bytes]) -> None:
        if done.returncode != 0:
            raise RunnerFailed(f"runner {self.name}: {_said(done)}")

    def _ssh(
        self, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command there; MachineLacks where the host or the program is not to be had."""
        done = self._run(command, stdin=stdin, stdout=stdout)
        if done.returncode == _SSH_FAILED:
            raise MachineLacks(
                f"runner {self.name}: {_said(done)}; `ssh {self.host} true` has to work without a password"
            )
        if done.returncode == _NOT_FOUND:
            raise MachineLacks(f"runner {self.name}: {command[0]} is not on the PATH there; install sprat-device there")
        return done

    def _run(
        self, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
        try:
            return subprocess.run(
                ["ssh", *options, "--", self.host, shlex.join(command)], stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=_TIMEOUT_S,
            )  # fmt: skip
        except OSError as exc:
            raise MachineLacks(f"runner {self.name}: ssh cannot be run here ({exc.strerror}); install it") from exc
        except subprocess.TimeoutExpired as exc:
            raise RunnerFailed(f"runner {self.name}: no answer after {_TIMEOUT_S} s") from exc


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (
        last_line(done.stderr.decode("utf-8", "replace")) or f"{done.args[-1]!r} ended with {ending(done.returncode)}"
    )
