"""Real scikit-learn models through the scheme and the device's own ONNX runtime, without the rest of a build."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sprat.compiler.frontends import sklearn_answers
from sprat.compiler.schemes import float64_onnx
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import PICKLE, Lowered, Work
from sprat_device.inference import runtimes

Array = np.ndarray[Any, Any]


def lowered(model: Any, rows: Array, task: str, folder: Path) -> Lowered:
    """Convert a fitted model as a build's worker does."""
    (folder / PICKLE).write_bytes(pickle.dumps(model))
    work = Work(folder=str(folder), framework="sklearn", task=task, model="m", input_names=("x",))
    return float64_onnx.lower(work, lambda: {"train": Part({"x": rows}, np.zeros(len(rows)))})


def run(made: Lowered | bytes, rows: Array, folder: Path) -> Array:
    """Answer rows one by one, as a device is fed, by its own ONNX session."""
    path = folder / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.artifact)
    session = runtimes.load("onnx", path, threads=1)
    name, kind = session.inputs[0].name, session.inputs[0].dtype
    last = session.outputs[-1].name
    return np.concatenate([session.run({name: row[None].astype(kind)})[last].reshape(1, -1) for row in rows])


def research(model: Any, rows: Array, task: str) -> Array:
    """Return what scikit-learn itself answers."""
    return sklearn_answers.answer(model, rows, task)
