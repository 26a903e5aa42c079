"""Does a runtime work here? It builds an interpreter of a tiny artifact and runs it, as a program of its own.

That a package can be imported says little: tflite-runtime beside numpy 2 imports and then fails at its first artifact,
and wheels for a newer processor crash the process. So the check runs in a child, whose memory and crashes are not the
agent's, and that a runtime works is kept until a version changes.
"""

from __future__ import annotations

import json
import logging
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sprat_device.board.arch import arch
from sprat_device.contract.errors import SpratError
from sprat_device.inference import runtimes
from sprat_device.inference.runtimes.raw import RunFailed

_LOG: Final = logging.getLogger("sprat.runtimes")
_TINY: Final = Path(__file__).with_name("tiny")
_TIMEOUT_S: Final = 60.0
"""A first import from a cold SD card takes long."""
_FILE: Final = "runtimes.json"


@dataclass(frozen=True, slots=True)
class Health:
    """What a runtime's check found; `detail` says why it is not `ok`, in one line."""

    runtime: str
    version: str
    ok: bool
    detail: str = ""


def examine(runtime: str, version_: str, *, python: str = sys.executable) -> Health:
    """Check one installed runtime in a child."""
    command = [python, "-m", "sprat_device.inference.runtimes.health", runtime]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Health(runtime, version_, ok=False, detail=f"no answer within {_TIMEOUT_S:g} s")
    if done.returncode == 0:
        return Health(runtime, version_, ok=True)
    said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
    why = said[0] if done.returncode > 0 else f"crashed with signal {-done.returncode}: {said[0]}"
    return Health(runtime, version_, ok=False, detail=why[:500])


def known(state: Path | None) -> list[Health]:
    """Return the health of every installed runtime; one that worked with these very versions is not checked again."""
    found = runtimes.available()
    path = None if state is None else state / _FILE
    versions = {"python": platform.python_version(), "machine": arch(), "numpy": np.__version__, **found}
    worked = _read(path, versions)
    health = [
        Health(runtime, each, ok=True) if runtime in worked else examine(runtime, each)
        for runtime, each in found.items()
    ]
    # What failed is not kept: it may have been the moment, and a device without its runtime answers nothing.
    works = sorted(each.runtime for each in health if each.ok)
    if path is not None and works != sorted(worked):
        _write(path, versions, works)
    return health


def usable(health: Sequence[Health]) -> dict[str, str]:
    """Return the versions of the runtimes that work; one that does not is named in the log."""
    for each in health:
        if not each.ok:
            _LOG.warning("%s %s is not used: %s", each.runtime, each.version, each.detail)
    return {each.runtime: each.version for each in health if each.ok}


def lines(health: Sequence[Health]) -> list[str]:
    """Return it as people read it."""
    told = [f"{each.runtime} {each.version}: {'works' if each.ok else each.detail}" for each in health]
    return told or ["no runtime is installed; install sprat-device[tflite], [litert] or [onnx]"]


def _read(path: Path | None, versions: Mapping[str, str]) -> list[str]:
    try:
        document = json.loads(path.read_bytes()) if path is not None else {}
        return list(document["works"]) if document.get("versions") == versions else []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []  # never written, torn or of another layout: it is found out anew


def _write(path: Path, versions: Mapping[str, str], works: Sequence[str]) -> None:
    try:
        path.write_text(json.dumps({"versions": versions, "works": works}))
    except OSError as exc:
        _LOG.debug("%s: cannot be kept (%s), so the next start checks again", path, exc)


def run(runtime: str) -> None:
    """Build an interpreter of a tiny artifact that doubles two numbers, and run it; SpratError or a crash says no."""
    artifact = _TINY / ("double.onnx" if runtime == "onnx" else "double.tflite")
    session = runtimes.load(runtime, artifact)
    (answer,) = session.run({session.inputs[0].name: np.array([[1.5, -2.0]], np.float32)}).values()
    if answer.tolist() != [[3.0, -4.0]]:
        raise RunFailed(f"{runtime} doubles 1.5 and -2 to {answer.tolist()}; install its package again")


def main(argv: Sequence[str] | None = None) -> int:
    """Check one runtime in this process: 0 where it works, else why not, as the last line on stderr."""
    (runtime,) = sys.argv[1:] if argv is None else argv
    try:
        run(runtime)
    except SpratError as exc:
        sys.stderr.write(f"{' '.join(str(exc).split())}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
