"""Memory of the agent's hot path over a million inferences: what it has allocated at every hundredth of the way.

A disk that stalls for a moment fills the hand-over to the writer, which takes memory that stays with the process; how
much is bounded, and how often that happens is the machine's doing. So it is full once before the first figure is taken.

memory.py BUNDLE ROWS INFERENCES
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from agent import anonymous_mib, rows_of, running

from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.telemetry.recorder import QUEUE_RECORDS

SAMPLES = 100


def main(bundle: Path, rows: Path, inferences: int) -> None:
    waited: list[float] = []

    def wait(loop: Loop) -> None:
        loop.step(0.1)
        waited.append(anonymous_mib())
        for _ in range(QUEUE_RECORDS):
            loop.step(0.1)
        waited.append(anonymous_mib())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = Session.open(bundle, cache=folder / "cache")
        found = []
        with running(session, rows_of(rows, session), folder, before=wait) as loop:
            for _ in range(SAMPLES):
                for _ in range(inferences // SAMPLES):
                    loop.step(0.1)
                found.append(anonymous_mib())
    print(json.dumps({"inferences": inferences, "anonymous_mib": found, "waited_mib": waited}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
