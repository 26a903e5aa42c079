"""The worker process: trains and converts one job after the other, so that a crash costs one candidate.

Jobs come as JSON lines on stdin, answers go as JSON lines to the file descriptor that stdout was; whatever the
frameworks print goes to stderr. TensorFlow is imported once for all jobs of a build.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sprat.compiler import schemes
from sprat.compiler.spec import factory
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import RESEARCH, NotNeeded, Work
from sprat.data.table import require_table, write_table
from sprat.errors import NO_SPACE, GateFailed, MachineLacks, SpratError
from sprat_device.contract import arrays


def main() -> None:
    """Answer jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"ok": True, **_JOBS[job.pop("job")](**job)}
        except GateFailed as exc:
            answer = {"ok": False, "family": GateFailed.__name__, "code": exc.code, "error": str(exc.args[0])}
        except NotNeeded as exc:
            answer = {"ok": False, "family": "", "code": GateCode.NOT_NEEDED, "error": str(exc)}
        except SpratError as exc:
            answer = {"ok": False, "family": type(exc).__name__, "error": str(exc)}
        except OSError as exc:
            full = exc.errno in NO_SPACE
            said = f"{exc.strerror}; make room, or give another --out" if full else f"{type(exc).__name__}: {exc}"
            answer = {"ok": False, "family": MachineLacks.__name__ if full else "", "error": said}
        except Exception as exc:  # noqa: BLE001 - converters raise anything; the parent names the candidate
            answer = {"ok": False, "family": "", "error": f"{type(exc).__name__}: {exc}"}
        if "error" in answer:
            answer["error"] = _COLOURS.sub("", answer["error"])  # Keras writes its errors for terminals
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _end_with(parent: int) -> None:
    """Kill this process and what it started when its build was killed: nobody watches their limits any more."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _data(path: str, out: str) -> dict[str, Any]:
    """Run the factory's `data()` and keep its columns."""
    table = require_table(factory.load(Path(path), "data")(), path)
    write_table(Path(out), table)
    return {"rows": len(next(iter(table.values())))}


def _train(work: dict[str, Any]) -> dict[str, Any]:
    """Make the source model and keep its own answers to every part."""
    task = Work(**work)
    parts = task.parts()
    frontend = importlib.import_module(f"sprat.compiler.frontends.{task.framework}")
    train = parts["train"]
    if task.augment:
        parts |= {"train": factory.augmented(Path(task.factory), task.augment, train, seed=task.seed)}
    answers: dict[str, Any] = frontend.make(task, parts)
    answers["train"] = answers["train"][: len(train.labels)]  # what was added stands behind: only the model sees it
    (task.path / RESEARCH).write_bytes(arrays.dump(answers))
    return {"source_sha256": frontend.source_digest(task), "versions": _versions()}


def _lower(work: dict[str, Any], scheme: str, out: str) -> dict[str, Any]:
    """Make one artifact."""
    task = Work(**work)
    lowered = schemes.load(scheme).lower(task, task.parts)
    Path(out).write_bytes(lowered.artifact)
    facts = {key: value for key, value in asdict(lowered).items() if key != "artifact"}
    return {**facts, "size": len(lowered.artifact), "sha256": hashlib.sha256(lowered.artifact).hexdigest()}


def _describe(path: str, kind: str) -> dict[str, Any]:
    """Read what an artifact says of itself."""
    frontend = importlib.import_module(f"sprat.compiler.frontends.{_READERS[kind]}")
    facts = asdict(frontend.lowered(Path(path).read_bytes(), {}))
    return {key: facts[key] for key in ("inputs", "outputs", "ops")}


def _versions() -> dict[str, str]:
    """Return the versions of the packages that took part in this process."""
    taking_part = (
        "tensorflow",
        "keras",
        "sklearn",
        "skl2onnx",
        "onnx",
        "onnxruntime",
        "numpy",
        "google.protobuf",
        "scipy",
    )
    package = {"sklearn": "scikit-learn", "google.protobuf": "protobuf"}
    loaded = [name for name in taking_part if name in sys.modules]
    return {package.get(name, name): importlib.metadata.version(package.get(name, name)) for name in loaded}


_JOBS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "data": _data, "train": _train, "lower": _lower, "describe": _describe,
}  # fmt: skip
_LOOK_EVERY_S: Final = 1.0
_COLOURS: Final = re.compile("\\x1b\\[[0-9;]*m")
_READERS: Final = {"tflite": "flatbuffer", "onnx": "onnx"}

if __name__ == "__main__":
    main()
