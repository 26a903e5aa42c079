"""`sprat-device infer` runs a bundle over a file or folder of inputs, with the same session and checks as the agent.

Without `--raw`: for each row the label's position and name, the scores or values, and the reason where the input is
bad; the file is read, run and written piece by piece. With `--raw` (`.npz` only): the artifact's own output tensors,
held in memory; what a row may hold is checked, all but its range.
The rows are what a sensor gives, and go through the bundle's pre-processing; with `--raw` they are what the model takes.
The rows are one sequence for a model that keeps state; with `--raw`, sequences as long as the golden set's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.board.settings import runtime as runtime_settings
from sprat_device.board.usage import CommandLine, folder
from sprat_device.contract.errors import SpratError, WrongUse
from sprat_device.contract.phases import Reason
from sprat_device.inference.answers import Answer, answer_width
from sprat_device.inference.batch import Arrays, Piece, Row
from sprat_device.inference.batch.reading import pieces, require_there
from sprat_device.inference.batch.writing import require_known, write_arrays, writing
from sprat_device.inference.golden import run_rows
from sprat_device.inference.loop import MOST_AT_ONCE
from sprat_device.inference.preparing import as_taken
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading


def raw_outputs(session: Session, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Return the raw output tensors of all rows, or WrongUse for the first row that is no input of this model."""
    for row, reading in enumerate(_rows(inputs)):
        reason = session.check_input(reading)
        if reason not in (None, Reason.INPUT_RANGE):
            raise WrongUse(f"row {row}: {reason}; mend the file or leave the row out")
    return run_rows(session, inputs)


def answers(session: Session, piece: Piece) -> list[Row]:
    """Return an answer, or a reason, for each row; where the artifact's batch is open, many rows are run at once."""
    if piece.fault:
        return [Row(reason=Reason.INPUT_UNREADABLE, file=name) for name in piece.names]
    readings = [as_taken(inputs, session.prepare) for inputs in _rows(piece.inputs)] or [Reading(0, 0, 0, {})]
    reasons = [reading.fault.reason if reading.fault else session.check_input(reading.inputs) for reading in readings]
    good = [reading.inputs for reading, reason in zip(readings, reasons, strict=True) if reason is None]
    found = iter(_predicted(session, good))
    files = piece.names or [""] * len(readings)
    return [
        _row(next(found), session.manifest.labels, file) if reason is None else Row(reason=reason, file=file)
        for reason, file in zip(reasons, files, strict=True)
    ]


def _predicted(session: Session, readings: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Iterable[Answer]:
    if not session.batches:
        yield from (session.predict(reading) for reading in readings)
        return
    for first in range(0, len(readings), MOST_AT_ONCE):
        yield from session.predict_many(readings[first : first + MOST_AT_ONCE])


def _row(answer: Answer, labels: Sequence[str], file: str) -> Row:
    name = labels[answer.label] if 0 <= answer.label < len(labels) else ""
    return Row(answer.label, name, tuple(answer.outputs.tolist()), file=file)


def _rows(inputs: Arrays) -> list[dict[str, npt.NDArray[Any]]]:
    count = len(next(iter(inputs.values()), ()))
    return [{name: array[row] for name, array in inputs.items()} for row in range(count)]


def run(parsed: argparse.Namespace) -> int:
    """Read, run, write."""
    require_known(parsed.output, raw=parsed.raw)
    settings = runtime_settings.heard([f"threads={parsed.threads}"])
    require_there(parsed.input)  # before a model is loaded
    if parsed.output.exists() and parsed.output.samefile(parsed.input):
        raise WrongUse(f"--output {parsed.output}: that is the input, which would be lost; name another file")
    with tempfile.TemporaryDirectory(prefix="sprat-infer-") as folder:
        session = Session.open(
            parsed.bundle, cache=parsed.cache or Path(folder), runtime=parsed.runtime, settings=settings
        )
        count, bad = (_run_raw if parsed.raw else _run)(session, parsed.input, parsed.output)
    if parsed.json:
        document = {
            "output": str(parsed.output), "rows": count, "bad": bad.total(), "reasons": dict(bad),
            "runtime": session.runtime, "runtime_version": session.runtime_version,
        }  # fmt: skip
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        told = f"{count} rows on {session.runtime} {session.runtime_version}"
        why = ", ".join(f"{reason} {times}" for reason, times in bad.most_common())
        sys.stderr.write(f"{parsed.output}: {told}{f', {bad.total()} bad inputs: {why}' if bad else ''}\n")
    return 0


def _run(session: Session, source: Path, output: Path) -> tuple[int, Counter[str]]:
    """Return how many rows were written, and of how many bad inputs by reason."""
    count, bad = 0, Counter[str]()
    with writing(output, width=answer_width(session.manifest)) as writer:
        for piece in pieces(source, session.manifest):
            rows = answers(session, piece)
            writer.add(rows)
            count += len(rows)
            bad.update(str(row.reason) for row in rows if row.reason)
    return count, bad


def _run_raw(session: Session, source: Path, output: Path) -> tuple[int, Counter[str]]:
    found = list(pieces(source, session.manifest))
    for piece in found:
        if piece.fault:
            raise WrongUse(f"{source}/{piece.names[0]}: {piece.fault}; mend the file or leave it out")
    names = [spec.name for spec in session.manifest.inputs]
    try:
        inputs = {name: np.concatenate([piece.inputs[name] for piece in found]) for name in names}
    except (KeyError, ValueError) as exc:
        raise WrongUse(f"{source}: its files have different inputs or shapes ({exc})") from exc
    write_arrays(output, raw_outputs(session, inputs))
    return len(inputs[names[0]]), Counter()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parsed = _parser().parse_args(argv)
    try:
        return run(parsed)
    except SpratError as exc:
        sys.stderr.write(f"sprat-device infer: {' '.join(str(exc).split())}\n")
        return exc.exit_code


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="sprat-device infer",
        description="Run a bundle over a file or folder of inputs.",
    )
    parser.example = "sprat-device infer digits.sprat test.npz --output answers.csv"
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the .sprat file")
    parser.add_argument(
        "input",
        type=Path,
        metavar="INPUT",
        help=".npz (an array per input), .npy (an only input), .csv or .parquet (named columns), .jsonl, or a folder "
        "of .npy, .npz, .json, .ppm, .pgm, .png and .jpg files; Parquet needs pyarrow, .png and .jpg need Pillow",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help=".csv, .jsonl, .json, .parquet or .npz"
    )
    parser.add_argument("--raw", action="store_true", help="write the artifact's own output tensors (.npz)")
    parser.add_argument(
        "--runtime", metavar="NAME", help="tflite, litert or onnx; default: the bundle's first that is installed"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads of the runtime (%(default)s)")
    parser.add_argument(
        "--cache", metavar="DIR", type=folder, help="folder for the extracted artifact; default: a temporary one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout: rows, bad inputs by reason")
    return parser


if __name__ == "__main__":
    sys.exit(main())
