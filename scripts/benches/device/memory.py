"""Memory of the agent's hot path over a million inferences: what it has allocated at every hundredth of the way.

memory.py BUNDLE ROWS INFERENCES
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from agent import anonymous_mib, rows_of, running

from sprat_device.inference.session import Session

SAMPLES = 100


def main(bundle: Path, rows: Path, inferences: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = Session.open(bundle, cache=folder / "cache")
        found = []
        with running(session, rows_of(rows, session), folder) as loop:
            for _ in range(SAMPLES):
                for _ in range(inferences // SAMPLES):
                    loop.step(0.1)
                found.append(anonymous_mib())
    print(json.dumps({"inferences": inferences, "anonymous_mib": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
