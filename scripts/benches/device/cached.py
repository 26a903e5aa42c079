"""What a cache of answers takes, and what an input that came before costs, beside running it again.

cached.py BUNDLE ROWS ENTRIES
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from agent import pss_mib, rows_of

from sprat_device.inference.cache import PredictionCache
from sprat_device.inference.session import Session

PASSES = 9


def main(bundle: Path, rows: Path, entries: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        session = Session.open(bundle, cache=Path(name))
        ((only, array),) = rows_of(rows, session).items()
        answer = session.predict({only: array[0]})
        before = pss_mib()
        cache = PredictionCache(entries=entries, max_bytes=2**40)
        for number in range(entries):
            reading = array[number % len(array)].copy()
            reading.flat[0] = number  # another input each time
            cache.keep(cache.key({only: reading}), answer)
        grown = pss_mib() - before
        known = PredictionCache(entries=len(array), max_bytes=2**40)
        found: dict[str, list[float]] = {"hit": [], "run": []}
        for _ in range(PASSES):
            begun = time.perf_counter()
            for row in array:
                answer = session.predict({only: row})
            found["run"].append((time.perf_counter() - begun) / len(array) * 1e6)
            for row in array:
                known.keep(known.key({only: row}), answer)
            begun = time.perf_counter()
            for row in array:
                assert known.find(known.key({only: row})) is not None
            found["hit"].append((time.perf_counter() - begun) / len(array) * 1e6)
    print(json.dumps({"entries": entries, "pss_mib": grown, "counted_mib": cache.bytes / 1024 / 1024, **found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
