"""What the agent costs a device: installed size, and resident memory beside a bare runtime with the same model."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from processes import as_its_unit_runs_it, memory_mib
from quiet import Quiet
from rows import Row

from sprat import settings
from sprat.errors import MachineLacks
from sprat.lab import chapters, story
from sprat.lab.parts import LabDevice
from sprat.lab.stage import Stage
from sprat_device.contract import bundle as bundles

MIB = 1024 * 1024
RUNTIME = ("tflite-runtime", "numpy")
SIZES = """
import importlib.metadata as m, json
def size(d): return sum(p.stat().st_size for f in d.files or () if (p := d.locate_file(f)).is_file())
print(json.dumps({d.metadata["Name"]: size(d) for d in m.distributions()}))
"""
BARE = """
import sys, time, numpy as np
from tflite_runtime.interpreter import Interpreter
i = Interpreter(sys.argv[1], num_threads=1); i.allocate_tensors()
d = i.get_input_details()[0]
for _ in range(1000):
    i.set_tensor(d["index"], np.zeros(d["shape"], d["dtype"])); i.invoke()
print("ready", flush=True); time.sleep(3600)
"""
_STARTED_S = 15.0
NOT_DEVICE = ("pip", "setuptools", "wheel")


def measure(*, quick: bool) -> list[Row]:
    """Return the rows of installed size and resident memory."""
    python = settings.read().runtimes_dir / "tflite" / "bin" / "python"
    if not python.exists():
        raise MachineLacks("no environment with tflite-runtime; run sprat runtimes add tflite")
    with (
        tempfile.TemporaryDirectory(prefix="sprat-bench-") as folder,
        story.stage(Path(folder) / "stage", _models(), Quiet(), device_python=python, console_port=0) as on,
    ):
        on.names = ("shoal-1",)
        for chapter in (chapters.build, chapters.start_hub, chapters.sign, chapters.install):
            chapter(on)
        samples = 5 if quick else 12
        plain = _resident(on, python, "agent resident, plain python", "", samples=samples)
        with as_its_unit_runs_it(python, Path(folder) / "bytecode"):
            for _ in range(2):  # the first start leaves the bytecode of what the system's own library gives
                on.devices[0].stop()
                on.devices[0].start()
                time.sleep(_STARTED_S)
                on.devices[0].require_alive()
        return [
            _installed(python),
            plain,
            _resident(on, python, "agent resident as its unit runs it", "<= 14", samples=samples),
        ]


def _models() -> Path:
    return Path(__file__).parents[2] / "models"


def _installed(python: Path) -> Row:
    done = subprocess.run([python, "-c", SIZES], capture_output=True, text=True, check=True)
    sizes: dict[str, int] = {k: v for k, v in json.loads(done.stdout).items() if k not in NOT_DEVICE}
    source = Path(__file__).parents[2] / "device" / "src"
    # An editable install holds no code of its own: count what a wheel would hold.
    sizes["sprat-device"] = sum(p.stat().st_size for p in source.rglob("*.py"))
    bare = sum(sizes[name] for name in RUNTIME)
    return Row(
        "footprint",
        "sprat-device[tflite] installed",
        sum(sizes.values()) / MIB,
        "MiB",
        "tflite-runtime + numpy",
        bare / MIB,
    )


def _resident(on: Stage, python: Path, name: str, goal: str, *, samples: int) -> Row:
    artifact = Path(on.folder) / "bare.tflite"
    with Path(on.builds["first"]["path"]).open("rb") as file, bundles.read(file) as opened, artifact.open("wb") as into:
        opened.copy_artifact(into)
    with subprocess.Popen([python, "-c", BARE, artifact], stdout=subprocess.PIPE, text=True) as bare:
        assert bare.stdout is not None
        bare.stdout.readline()
        try:
            pairs = [(_rss(_pid(on.devices[0])), _rss(bare.pid)) for _ in _ticks(samples)]
        finally:
            bare.kill()
    agent, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    spread = f"({min(a for a, _ in pairs):.1f}-{max(a for a, _ in pairs):.1f}, {samples} samples)"
    return Row("footprint", f"{name}, digits at 60/s, full telemetry", agent, "MiB", "bare runtime, same model", floor,
               goal, "difference", spread)  # fmt: skip


def _ticks(samples: int) -> range:
    time.sleep(10)  # past enrolment, install and the first summaries: the steady state
    return range(samples)


def _pid(device: LabDevice) -> int:
    assert device.process is not None
    return device.process.pid


def _rss(pid: int) -> float:
    time.sleep(1)
    return memory_mib(pid, "Rss")
