"""`sprat-device infer` runs a bundle over a file of inputs, with the same session and checks as the agent.

Without `--raw`: for each row the label's position and name, the scores or values, and the reason where the input is
bad. With `--raw` (`.npz` only): the artifact's own output tensors; what a row may hold is checked, all but its range.
The rows are what a sensor gives, and go through the bundle's pre-processing; with `--raw` they are what the model takes.
The rows are one sequence for a model that keeps state; with `--raw`, sequences as long as the golden set's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sprat_device.contract.errors import SpratError, WrongUse
from sprat_device.contract.phases import Reason
from sprat_device.inference import tables
from sprat_device.inference.golden import run_rows
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading
from sprat_device.inference.tables import Row

Arrays = Mapping[str, npt.NDArray[Any]]


def raw_outputs(session: Session, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Return the raw output tensors of all rows, or WrongUse for the first row that is no input of this model."""
    for row, reading in enumerate(_rows(inputs)):
        reason = session.check_input(reading)
        if reason not in (None, Reason.INPUT_RANGE):
            raise WrongUse(f"row {row}: {reason}; mend the file or leave the row out")
    return run_rows(session, inputs)


def answers(session: Session, inputs: Arrays) -> list[Row]:
    """Return an answer, or a reason, for each row."""
    names = session.manifest.labels
    found: list[Row] = []
    for inputs_ in _rows(inputs):
        reading = _as_taken(inputs_, session)
        reason = reading.fault.reason if reading.fault else session.check_input(reading.inputs)
        if reason is not None:
            found.append(Row(reason=reason))
            continue
        answer = session.predict(reading.inputs)
        name = names[answer.label] if 0 <= answer.label < len(names) else ""
        found.append(Row(answer.label, name, tuple(answer.outputs.tolist())))
    return found


def _as_taken(inputs: Arrays, session: Session) -> Reading:
    """Return a row of the file, which holds what a sensor gives, as the model takes it."""
    reading = Reading(0, 0, 0, inputs)
    return reading if session.prepare is None else session.prepare(reading)


def _rows(inputs: Arrays) -> list[dict[str, npt.NDArray[Any]]]:
    count = len(next(iter(inputs.values())))
    return [{name: array[row] for name, array in inputs.items()} for row in range(count)]


def run(parsed: argparse.Namespace) -> int:
    """Read, run, write."""
    writer = tables.writer(parsed.output, raw=parsed.raw)
    with tempfile.TemporaryDirectory(prefix="sprat-infer-") as folder:
        session = Session.open(
            parsed.bundle, cache=parsed.cache or Path(folder), runtime=parsed.runtime, threads=parsed.threads
        )
        inputs = tables.read(parsed.input, session.manifest)
        if parsed.raw:
            outputs = raw_outputs(session, inputs)
            tables.write_arrays(parsed.output, outputs)
            bad = 0
        else:
            found = answers(session, inputs)
            writer(parsed.output, found)
            bad = sum(1 for row in found if row.reason)
    count = len(next(iter(inputs.values())))
    told = f"{count} rows on {session.runtime} {session.runtime_version}" + (f", {bad} bad inputs" if bad else "")
    sys.stderr.write(f"{parsed.output}: {told}\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parsed = _parser().parse_args(argv)
    try:
        return run(parsed)
    except SpratError as exc:
        sys.stderr.write(f"sprat-device infer: {' '.join(str(exc).split())}\n")
        return exc.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sprat-device infer",
        description="Run a bundle over a file of inputs.",
        epilog="Example: sprat-device infer digits.sprat test.npz --output answers.csv",
    )
    parser.add_argument("bundle", type=Path, help="the .sprat file")
    parser.add_argument(
        "input", type=Path, help=".npz (an array per input), .npy (an only input) or .csv (named columns)"
    )
    parser.add_argument("--output", type=Path, required=True, help=".csv, .json or .npz")
    parser.add_argument("--raw", action="store_true", help="write the artifact's own output tensors (.npz)")
    parser.add_argument("--runtime", help="tflite, litert or onnx; default: the bundle's first that is installed")
    parser.add_argument("--threads", type=int, default=1, help="threads of the runtime (%(default)s)")
    parser.add_argument("--cache", type=Path, help="folder for the extracted artifact; default: a temporary one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
