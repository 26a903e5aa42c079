"""The parts of a rehearsal: a real hub and real agents, each a process with a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sprat.client import HubClient
from sprat.errors import HubUnreachable
from sprat.lab import shell
from sprat.lab.link import Link

T = TypeVar("T")
RATE_HZ: Final = 60.0
"""Inputs a second of a rehearsal's stream."""
_POLL_S: Final = 0.2


def wait_for(what: str, ready: Callable[[], T | None], *, timeout_s: float) -> T:
    """Ask `ready` until it answers with something; HubUnreachable after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > end:
            raise HubUnreachable(f"{what}: not within {timeout_s:.0f} s; the logs of the rehearsal tell more")
        time.sleep(_POLL_S)


@dataclass(slots=True)
class LabHub:
    """A hub in a folder, with what it told when it was made."""

    folder: Path
    process: subprocess.Popen[bytes]
    run: dict[str, Any]
    login: dict[str, Any]
    token: str
    client: HubClient

    @classmethod
    def start(cls, run: shell.Shell, folder: Path, *, console_port: int = 0, name: str = "") -> LabHub:
        """Make a hub and run it on free ports of loopback; `name` is another that devices know it by."""
        login = run.sprat("hub", "init", str(folder), *(["--name", name] if name else []))
        run.echo(f"sprat hub run …/{folder.name}")
        ports = ["--console-port", str(console_port), "--device-port", "0", "--mqtt-port", "0"]
        ports += ["--device-host", "127.0.0.1"] if name else []
        # Only looked at where there is no mosquitto; the hub says what it lacks then.
        command = [sys.executable, "-m", "sprat.cli", "hub", "run", str(folder), *ports, "--demo-broker"]
        log = folder.parent / "hub.log"
        process = run.start(command, log, env=run.host_env())

        def ready() -> dict[str, Any] | None:
            if process.poll() is not None:
                raise HubUnreachable(f"hub ended with {process.returncode}: {_last_line(log)}")
            facts = folder / "run.json"
            return json.loads(facts.read_text()) if facts.exists() else None

        facts = wait_for("hub", ready, timeout_s=60)
        token = (folder / "admin.token").read_text().strip()
        return cls(folder, process, facts, login, token, HubClient(facts["console_url"], token))

    def stop(self) -> None:
        """End the hub and what it started."""
        self.client.close()
        shell.stop(self.process)


@dataclass(slots=True)
class LabDevice:
    """An agent with a state folder, behind links of its own that can be lost."""

    name: str
    state: Path
    python: Path
    links: tuple[Link, Link]
    commands: shell.Shell
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def enrol(
        cls,
        run: shell.Shell,
        hub: LabHub,
        name: str,
        *,
        python: Path,
        token: str,
        stream: Path,
        rate_hz: float = RATE_HZ,
    ) -> LabDevice:
        """Give a device its identity and the stream that it shall run."""
        state = hub.folder.parent / name
        state.mkdir()
        https = Link("127.0.0.1", int(hub.run["device_url"].rsplit(":", 1)[1]))
        mqtt = Link("127.0.0.1", int(hub.run["mqtt_port"]))
        url = f"https://127.0.0.1:{https.port}"
        run.device(python, "enrol", "--hub", url, "--token", token, "--state", str(state), "--device", name)
        (state / "sprat.toml").write_text(
            _SETTINGS.format(mqtt_port=mqtt.port, rate_hz=rate_hz, stream=json.dumps(str(stream)))
        )
        return cls(name, state, python, (https, mqtt), run)

    def start(self) -> None:
        """Run the agent."""
        command = [str(self.python), "-m", "sprat_device", "run", "--state", str(self.state)]
        self.process = self.commands.start(command, self.log, env=shell.device_env())

    def require_alive(self) -> None:
        """Raise HubUnreachable with the agent's last words if it ended."""
        if self.process is not None and self.process.poll() is not None:
            raise HubUnreachable(f"{self.name} ended with {self.process.returncode}: {_last_line(self.log)}")

    @property
    def log(self) -> Path:
        """Return where the agent's output goes."""
        return self.state.parent / f"{self.name}.log"

    def stop(self) -> int:
        """Ask the agent to flush and end; returns its exit code."""
        return shell.stop(self.process) if self.process is not None else 0


_SETTINGS = """\
log_level = "info"
clock = "synchronised"

[hub]
mqtt_port = {mqtt_port}

[[inputs]]
model = "digits"
kind = "replay"
path = {stream}
rate_hz = {rate_hz}
loop = true

[telemetry]
frame_interval_s = 1.0
summary_interval_s = 5.0

[install]
probation_predictions = 60
"""


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
