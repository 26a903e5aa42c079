"""What the compiler gives and costs: sizes, the bound of the drop, its own share of the time, and a script written by hand."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import drops
from rows import Row

from sprat import settings as settings_
from sprat.compiler import build as builds
from sprat.compiler import columns
from sprat.compiler.build import build
from sprat.compiler.result import BuildResult
from sprat.compiler.spec import project
from sprat.compiler.workers.jobs import Jobs
from sprat.compiler.workers.work import write_parts
from sprat_device.contract import bundle as bundles

MODELS = Path(__file__).parents[2] / "models"
TIE = 0.85
"""Latencies within 15 % of each other are a tie."""
HEAVY = """
def data():
    from sklearn.datasets import load_digits
    found = load_digits()
    return {"image": found.data.astype("float32") / 16, "label": found.target}


def model(train, validation, *, seed):
    import keras
    net = keras.Sequential([
        keras.Input((64,), name="image"), keras.layers.Dense(512, "relu"), keras.layers.Dense(512, "relu"),
        keras.layers.Dense(10, "softmax"),
    ])
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(train.inputs["image"], train.labels, epochs=12, verbose=0)
    return net
"""
HEAVY_RECIPE = """
schema = "sprat.recipe/1"
model = "heavy"
task = "classification"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
schemes = ["float32", "int8"]
[train]
framework = "keras"
factory = "factory.py"
[inputs.image]
"""
BY_HAND = '''
"""What one writes without Sprat: the converter with its usual options, and a loop that times."""
import json, sys, time, warnings
from pathlib import Path
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

warnings.simplefilter("ignore")
folder, data, chosen, runs = Path(sys.argv[1]), np.load(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
name = next(key.split("/")[2] for key in data.files if key.startswith("calibration/input/"))
calibration, test = (data[f"{part}/input/{name}"].astype("float32") for part in ("calibration", "test"))
labels = data["test/labels"]

def rows():
    for i in range(len(calibration)):
        yield {name: calibration[i : i + 1]}

def converted(*, optimize=False, float16=False, calibrate=False, full=False):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if optimize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if float16:
        converter.target_spec.supported_types = [tf.float16]
    if calibrate:
        converter.representative_dataset = rows
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if full:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()

def measured(artifact):
    interpreter = Interpreter(model_content=artifact, num_threads=1)
    interpreter.allocate_tensors()
    i, o = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = i["quantization"]
    fed = test if i["dtype"] == np.float32 else np.clip(np.round(test / scale + zero), -128, 127).astype(np.int8)
    right, taken = 0, []
    for row, label in zip(fed, labels):
        interpreter.set_tensor(i["index"], row[None]); interpreter.invoke()
        right += int(interpreter.get_tensor(o["index"])[0].argmax() == label)
    for n in range(runs):
        begun = time.perf_counter_ns()
        interpreter.set_tensor(i["index"], fed[n % len(fed)][None]); interpreter.invoke()
        interpreter.get_tensor(o["index"])
        taken.append(time.perf_counter_ns() - begun)
    return {"bytes": len(artifact), "right": right, "us": float(np.median(taken)) / 1e3}

made = {
    "none": converted(), "dynamic": converted(optimize=True), "float16": converted(optimize=True, float16=True),
    "int8": converted(optimize=True, calibrate=True), "int8-full": converted(optimize=True, calibrate=True, full=True),
}
print(json.dumps({"hand": {key: measured(raw) for key, raw in made.items()}, "chosen": measured(chosen.read_bytes())}))
'''


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of the compiler."""
    with tempfile.TemporaryDirectory(prefix="sprat-bench-") as name:
        folder = Path(name)
        overrides = (*drops.MANY_TEST_ROWS, *(("train.epochs=8", "gates.min_metric=0.8") if quick else ()))
        digits = build(
            MODELS / "digits", out=folder / "digits", overrides=overrides, cache=False, settings=_settings(folder), say=_say
        )  # fmt: skip
        return [
            _size_ratio(folder),
            *drops.measure(folder, _settings(folder), _say, quick=quick),
            _overhead(digits),
            _not_dominated(digits, folder, overrides, runs=300 if quick else 2000),
            *_start(5 if quick else 20),
        ]


def _say(step: str) -> None:
    print(f"   {step}", file=sys.stderr)


def _settings(folder: Path) -> settings_.Settings:
    return replace(settings_.read(), runs_dir=folder / "runs", cache_dir=folder / "cache")


def _size_ratio(folder: Path) -> Row:
    project_ = folder / "heavy"
    project_.mkdir()
    (project_ / "recipe.toml").write_text(HEAVY_RECIPE)
    (project_ / "factory.py").write_text(HEAVY)
    result = build(
        project_, out=folder / "heavy-out", cache=False, runner="local", settings=_settings(folder), say=_say,
        overrides=("gates.max_drop=1", "gates.max_recall_drop=1", "gates.min_agreement=0"),
    )  # fmt: skip
    size = {row.scheme: row.size for row in result.candidates}
    return Row("compiler", "int8 artifact, 0.3 M weights in dense layers", size["int8"] / 1024, "KiB", "its float32",
               size["float32"] / 1024, "<= 0.27")  # fmt: skip


def _overhead(digits: BuildResult) -> Row:
    took = digits.seconds
    work = took["train"] + took["convert"]
    own = took["total"] - work - took["data"] - took["trials"]
    said = f"(data {took['data']:.1f} s, trials {took['trials']:.1f} s, whole build {took['total']:.1f} s)"
    return Row("compiler", "own overhead, digits, five schemes and more", own, "s", "train + convert", work, "<= 0.10",
               "ratio", said)  # fmt: skip


def _not_dominated(digits: BuildResult, folder: Path, overrides: tuple[str, ...], *, runs: int) -> Row:
    """Count the artifacts of a script by hand that beat the chosen one in one figure and lose in none."""
    source = project.read(MODELS / "digits", overrides=overrides)
    job = folder / "job"
    job.mkdir()
    with Jobs(log=folder / "log", timeout_s=600) as jobs:
        ingested = columns.gather(source, None, jobs, work=folder, settings=_settings(folder), since="")
        write_parts(job, ingested.parts)
        jobs.train(builds._work(source, job))
    chosen = folder / "chosen.tflite"
    with digits.bundles[0].path.open("rb") as file, bundles.read(file) as opened, chosen.open("wb") as into:
        opened.copy_artifact(into)
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, job / "source", job / "data.npz", chosen, str(runs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    ours = found["chosen"]
    better = [name for name, one in found["hand"].items() if _dominates(one, ours)]
    _say(f"chosen {digits.bundles[0].scheme} {ours}; by hand {found['hand']}")
    return Row("compiler", f"hand-written candidates that dominate {digits.bundles[0].scheme}", len(better), "", "of",
               len(found["hand"]), "<= 0", "value", f"({', '.join(better) or 'none'}; bytes, accuracy, LiteRT p50)")  # fmt: skip


def _dominates(one: dict[str, float], ours: dict[str, float]) -> bool:
    no_worse = one["bytes"] <= ours["bytes"] and one["right"] >= ours["right"] and one["us"] * TIE <= ours["us"]
    better = one["bytes"] < ours["bytes"] or one["right"] > ours["right"] or one["us"] < ours["us"] * TIE
    return no_worse and better


def _start(samples: int) -> list[Row]:
    bare = _milliseconds([sys.executable, "-c", "pass"], samples)
    help_ = _milliseconds([str(Path(sys.executable).with_name("sprat")), "--help"], samples)
    # The fastest: whatever else runs here only ever adds to it.
    spread = f"(fastest of {samples}; median {statistics.median(help_):.0f}, {statistics.median(bare):.0f} ms)"
    return [
        Row("compiler", "sprat --help, from start to end", min(help_), "ms", "python -c pass",
            min(bare), "<= 150", "value", spread)
    ]  # fmt: skip


def _milliseconds(command: list[str], samples: int) -> list[float]:
    taken = []
    for _ in range(samples + 1):
        begun = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        taken.append((time.perf_counter() - begun) * 1e3)
    return taken[1:]  # the first one reads from disk
