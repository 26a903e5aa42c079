"""Looks into an artifact: the values of its weights and of its activations on some rows, in their own unit.

Runs in a process of its own (`python -m sprat.compiler.report.anatomy FILE ROWS.npz OUT.npz`): a runtime that crashes on a
broken file must cost a picture, not the build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from sprat_device.contract import arrays

Array = npt.NDArray[Any]

WEIGHT: Final = "weight/"
ACTIVATION: Final = "activation/"
MAX_BYTES: Final = 512 * 1024**2


def look(path: Path, inputs: Mapping[str, Array], *, timeout_s: float = 60.0) -> dict[str, Array]:
    """Return values under `weight/NAME` and `activation/NAME`; nothing where the file cannot be run here."""
    with tempfile.TemporaryDirectory() as folder:
        rows, out = Path(folder) / "rows.npz", Path(folder) / "out.npz"
        rows.write_bytes(arrays.dump(inputs))
        command = [sys.executable, "-m", "sprat.compiler.report.anatomy", str(path), str(rows), str(out)]
        try:
            # What the runtime says of itself is no finding: the picture is left out, and the report says so.
            subprocess.run(command, check=True, capture_output=True, timeout=timeout_s, env={**os.environ})
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return {}
        return dict(arrays.parse(out.read_bytes(), max_bytes=MAX_BYTES))
