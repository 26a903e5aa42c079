"""Bytes on the wire of a prediction with its ten scores, in a frame and as a JSON document of its own.

Twice: with scores that no compression can shorten (drawn at random), and with those that a model gave to its test rows.

    wire.py BUNDLE ROWS
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from agent import rows_of

from sprat_device.contract import frame
from sprat_device.contract.frame import FrameHeader, Ledger
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Origin, Prediction, encode_predictions
from sprat_device.inference.answers import Answer
from sprat_device.inference.session import Session

MOST = 500
STEP_US, SHAKE_US = 100_000, 37
ORIGIN = Origin(ModelName("digits"), 1, Digest("ab" * 32))


def main(bundle: Path, rows: Path) -> None:
    dice = np.random.default_rng(1)
    drawn = dice.dirichlet(np.ones(10), MOST).astype(np.float32)
    with tempfile.TemporaryDirectory() as cache:
        session = Session.open(bundle, cache=Path(cache))
        inputs = rows_of(rows, session)
        some = min(MOST, len(next(iter(inputs.values()))))
        given = [session.predict({name: array[row] for name, array in inputs.items()}) for row in range(some)]
    print(json.dumps({
        "random": _sizes([Answer(int(scores.argmax()), scores) for scores in drawn]), "model": _sizes(given),
    }))  # fmt: skip


def _sizes(answers: Sequence[Answer]) -> dict[str, float]:
    # Ten a second, with the jitter of a scheduler.
    times = [index * STEP_US + index * index % SHAKE_US for index in range(len(answers))]
    made = [
        Prediction(index, at, 1_790_000_000_000_000 + at, answer.label, answer.outputs, 40 + index % 7)
        for index, (at, answer) in enumerate(zip(times, answers, strict=True))
    ]
    first, last = made[0], made[-1]
    header = FrameHeader(Lane.PREDICTIONS, 2**63, 1, len(made), bytes(16), first.mono_us, last.mono_us, first.wall_us,
                         last.wall_us, ClockState.SYNCHRONISED, Ledger(produced=len(made)))  # fmt: skip
    sealed = frame.seal(header, encode_predictions(ORIGIN, made, scores=True))
    plain = [
        json.dumps({
            "model": "digits", "release": 1, "index": p.index, "time": p.wall_us / 1e6, "label": p.label,
            "latency_us": p.latency_us, "scores": [round(float(score), 4) for score in p.outputs],
        })
        for p in made
    ]  # fmt: skip
    return {"count": len(made), "frame": len(sealed) / len(made), "json": sum(map(len, plain)) / len(made)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
