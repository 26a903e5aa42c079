"""From nothing to the first answer: importing, and a whole program, beside the bare runtime doing the same, by turns.

start.py BUNDLE ROWS ROUNDS
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sprat_device.contract import bundle as bundles

BARE_IMPORT = "import numpy; from tflite_runtime.interpreter import Interpreter"
BARE = f"""{BARE_IMPORT}
import sys
i = Interpreter(sys.argv[1], num_threads=1); i.allocate_tensors()
d = i.get_input_details()[0]
i.set_tensor(d["index"], numpy.load(sys.argv[2])[sys.argv[3]][:1].astype(d["dtype"])); i.invoke()
"""
AGENT_IMPORT = "import sprat_device.daemon"
AGENT = """
import sys, pathlib
sys.path.insert(0, sys.argv[4])
import sprat_device.daemon
from agent import rows_of, running
from sprat_device.inference.session import Session
session = Session.open(pathlib.Path(sys.argv[1]), cache=pathlib.Path(sys.argv[3]) / "cache")
with running(session, rows_of(pathlib.Path(sys.argv[2]), session), pathlib.Path(sys.argv[3])) as loop:
    while not loop.healthy:
        loop.step(0.1)
    import os
    os._exit(0)
"""


def main(bundle: Path, rows: Path, rounds: int) -> None:
    here = str(Path(__file__).parent)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "bare.tflite"
        with bundle.open("rb") as file, bundles.read(file) as opened, artifact.open("wb") as into:
            opened.copy_artifact(into)
            only = opened.manifest.inputs[0].name
        sides = {
            "import": (AGENT_IMPORT,), "bare import": (BARE_IMPORT,),
            "first": (AGENT, str(bundle), str(rows), folder, here), "bare first": (BARE, str(artifact), str(rows), only),
        }  # fmt: skip
        for number in range(-1, rounds):  # the first round warms the disk's cache
            for side, (program, *arguments) in sides.items():
                begun = time.perf_counter()
                subprocess.run([sys.executable, "-c", program, *arguments], check=True, stderr=subprocess.DEVNULL)
                if number >= 0:
                    found.setdefault(side, []).append((time.perf_counter() - begun) * 1e3)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
