"""Inferences a second of the agent with full telemetry and drift, beside a bare invoke loop in the same process, by turns.

throughput.py BUNDLE RUNTIME ROUNDS SECONDS
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from agent import rows_of, running

from sprat_device.contract import bundle as bundles
from sprat_device.inference.session import Session

INTERPRETERS = {"tflite": "tflite_runtime.interpreter", "litert": "ai_edge_litert.interpreter"}


def main(bundle: Path, runtime: str, rounds: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = Session.open(bundle, cache=folder / "cache", runtime=runtime)
        rows = rows_of(None, session)
        invoke = _bare(bundle, runtime, rows, folder)
        found: dict[str, list[float]] = {"agent": [], "bare": []}
        with running(session, rows, folder) as loop:
            for counted in range(-1, rounds):  # the first round warms up
                rates = {"agent": _rate(lambda: loop.step(0.1), seconds), "bare": _rate(invoke, seconds)}
                for side, rate in rates.items():
                    found[side] += [rate] * (counted >= 0)
    print(json.dumps(found))


def _bare(bundle: Path, runtime: str, rows: dict[str, np.ndarray[Any, Any]], folder: Path) -> Callable[[], object]:
    """Return the loop that a user would write first: set, invoke, get, on tensors that were quantized before."""
    artifact = folder / "bare.tflite"
    with bundle.open("rb") as file, bundles.read(file) as opened, artifact.open("wb") as into:
        opened.copy_artifact(into)
        (spec,) = opened.manifest.inputs
    interpreter = importlib.import_module(INTERPRETERS[runtime]).Interpreter(str(artifact), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    steps = rows[spec.name] / spec.scale + spec.zero_point if spec.scale else rows[spec.name]
    tensors = [row[None].astype(taken["dtype"]) for row in steps]
    place = 0

    def invoke() -> object:
        nonlocal place
        interpreter.set_tensor(taken["index"], tensors[place])
        interpreter.invoke()
        place = (place + 1) % len(tensors)
        return interpreter.get_tensor(given["index"])

    return invoke


def _rate(work: Callable[[], object], seconds: float) -> float:
    begun = time.perf_counter()
    done, end = 0, begun + seconds
    while time.perf_counter() < end:
        for _ in range(20):
            work()
        done += 20
    return done / (time.perf_counter() - begun)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
