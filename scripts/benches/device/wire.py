"""Bytes on the wire of a prediction with its ten scores: in a frame of 500, and as a JSON document of its own.

wire.py BUNDLE ROWS
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from agent import rows_of

from sprat_device.contract import frame
from sprat_device.contract.frame import FrameHeader, Ledger
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Origin, Prediction, encode_predictions
from sprat_device.inference.session import Session

COUNT = 500
STEP_US, SHAKE_US = 100_000, 37


def main(bundle: Path, rows: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        session = Session.open(bundle, cache=Path(cache))
        inputs = rows_of(rows, session)
        some = len(next(iter(inputs.values())))
        predictions = []
        for index in range(COUNT):
            answer = session.predict({name: array[index % some] for name, array in inputs.items()})
            # Ten a second, with the jitter of a scheduler.
            mono_us = index * STEP_US + index * index % SHAKE_US
            predictions.append(
                Prediction(
                    index, mono_us, 1_790_000_000_000_000 + mono_us, answer.label, answer.outputs, 40 + index % 7
                )
            )
    origin = Origin(ModelName("digits"), 1, session.bundle_digest)
    first, last = predictions[0], predictions[-1]
    body = encode_predictions(origin, predictions, scores=True)
    header = FrameHeader(Lane.PREDICTIONS, 2**63, 1, COUNT, bytes(16), first.mono_us, last.mono_us, first.wall_us,
                         last.wall_us, ClockState.SYNCHRONISED, Ledger(produced=COUNT))  # fmt: skip
    plain = [
        json.dumps({
            "model": "digits", "release": 1, "index": p.index, "time": p.wall_us / 1e6, "label": p.label,
            "latency_us": p.latency_us, "scores": [round(float(score), 4) for score in p.outputs],
        })
        for p in predictions
    ]  # fmt: skip
    print(json.dumps({
        "count": COUNT, "frame": len(frame.seal(header, body)) / COUNT, "json": sum(map(len, plain)) / COUNT,
    }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
