"""Starts the updater as a child process of the agent, and ends it with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sprat_device.contract.ids import ModelName


class Child(Protocol):
    """A running updater."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""

    def stop(self) -> None:
        """End it now; every write of it survives that, as it survives a power cut."""


Launch = Callable[[ModelName | None], Child]
"""Starts the updater on the offer of a model, or on a look at the hub."""


class UpdaterProcess:
    """The updater in a process group of its own, since it runs `check` as a process too."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Kill the group and reap the process."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def launcher(state: Path, runtimes: Mapping[str, str]) -> Launch:
    """Return how this device starts its updater."""

    def launch(model: ModelName | None) -> Child:
        module = "sprat_device.install.updater"
        given = ["--state", str(state), "--runtimes", json.dumps(dict(runtimes))]
        given += ["--model", model] if model else []
        return UpdaterProcess([sys.executable, "-m", module, *given])

    return launch
