"""Batch files: named columns in, answers out, and a clear word for a file that does not fit."""

from __future__ import annotations

import csv
import itertools
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import INPUT, OUTPUT, manifest, session

from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.answers import answer_width, answering
from sprat_device.inference.batch import Piece, Row
from sprat_device.inference.batch.reading import pieces
from sprat_device.inference.batch.writing import require_known, writing
from sprat_device.inference.infer import answers, raw_outputs


def read(path: Path, described: Manifest) -> Any:
    """Return the only piece of a small file."""
    (piece,) = pieces(path, described)
    return piece.inputs


def test_columns_are_found_by_feature_name_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("c,id,a,b,id\n3,x,1,2,\n6,y,4,5,\n")
    assert read(path, manifest())["x"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_text_columns_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("colour,n\nred,1\nblue,2\n")
    inputs = (TensorSpec("colour", "string", (-1, 1)), TensorSpec("n", "int64", (-1, 1)))
    found = read(path, manifest(inputs=inputs))
    assert found["colour"].tolist() == [["red"], ["blue"]]
    assert found["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aa,b,c\n1,2,3\n", "column 'a' is missing; did you mean 'aa'"),
        ("a,b,c\n1,2\n", "row 0 has 2 cells"),
        ("a,b,c,a\n1,2,3,4\n", "2 columns are named 'a', expected one"),
        ("a,b,c\n", "no rows"),
        ("", "no rows"),
        ("a,b,c\n1,2,many\n", "column 'c': found 'many', expected a number"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(WrongUse, match=said):
        read(path, manifest())


def test_an_empty_cell_is_a_bad_input_of_its_row_only(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b,c\n1,,3\n1,2,3\n")
    found = answers(session(), Piece(read(path, manifest())))
    assert found[0].reason == Reason.INPUT_NON_FINITE
    assert (found[1].label, found[1].name, found[1].outputs) == (2, "high", (1.0, 2.0, 3.0))


def test_answers_are_written_in_three_ways(tmp_path: Path) -> None:
    rows = [Row(2, "high", (0.25, 0.75)), Row(reason=Reason.INPUT_RANGE)]
    for suffix in (".csv", ".json", ".npz"):
        path = tmp_path / f"out{suffix}"
        with writing(path, width=2) as writer:
            writer.add(rows)
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table[0] == {"row": "0", "label": "2", "name": "high", "output_0": "0.25", "output_1": "0.75", "reason": ""}
    assert table[1]["reason"] == "input-range"
    assert json.loads((tmp_path / "out.json").read_text())[0]["outputs"] == [0.25, 0.75]
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["label"].tolist() == [2, -1]
        assert np.isnan(arrays["outputs"][1]).all()


def test_an_unknown_output_is_refused_before_the_work() -> None:
    with pytest.raises(WrongUse, match="--output"):
        require_known(Path("out.xlsx"))
    with pytest.raises(WrongUse, match="--output"):
        require_known(Path("out.csv"), raw=True)


def test_raw_outputs_run_row_by_row_and_let_the_range_pass() -> None:
    opened = session()
    inputs = {"x": np.array([[1, 2, 3], [1e4, 0, 0]], np.float32)}
    assert raw_outputs(opened, inputs)["y"].tolist() == inputs["x"].tolist()
    inputs["x"][1, 0] = np.nan
    with pytest.raises(WrongUse, match="row 1: input-non-finite"):
        raw_outputs(opened, inputs)


OPEN = manifest(inputs=(replace(INPUT, shape=(-1, 3)),), outputs=(replace(OUTPUT, shape=(-1, 3)),))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_by_rows_and_other_arrays_left_alone(tmp_path: Path, save: Any) -> None:
    rows = np.arange(7500, dtype=np.float64).reshape(2500, 3)
    save(tmp_path / "in.npz", x=rows, other=np.zeros(3))
    np.save(tmp_path / "in.npy", rows.astype(np.float32))
    for name in ("in.npz", "in.npy"):
        found = list(pieces(tmp_path / name, manifest()))
        assert [piece.count for piece in found] == [1024, 1024, 452]
        whole = np.concatenate([piece.inputs["x"] for piece in found])
        assert whole.dtype == np.float32
        assert np.array_equal(whole, rows)


def test_a_file_larger_than_its_piece_is_never_whole_in_memory(tmp_path: Path) -> None:
    rows = np.lib.format.open_memmap(tmp_path / "in.npy", mode="w+", dtype=np.float32, shape=(2_000_000, 3))
    rows[:] = 1
    rows.flush()
    del rows
    tracemalloc.start()
    try:
        opened, count = session(described=OPEN), 0
        with writing(tmp_path / "out.csv", width=3) as writer:
            for piece in itertools.islice(pieces(tmp_path / "in.npy", OPEN), 20):
                writer.add(answers(opened, piece))
                count += piece.count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20 * 1024
    assert peak < 4_000_000  # the file has 24 MB


def test_documents_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"x": [1, 2, 3]}\n\n[4, 5, null]\n')
    found = read(path, manifest())["x"]
    assert found[0].tolist() == [1, 2, 3]
    assert np.isnan(found[1, 2])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.jsonl", b"[1, 2, 3]\n[1, 2]\n", "of another shape in a row of 0 to 1"),
        ("in.jsonl", b"[1, 2\n", "cannot be read as lines of JSON"),
        ("in.npz", b"PK nothing", "cannot be read as plain arrays"),
        ("in.npy", b"\x93NUMPY\x01\x00\x02\x00{}", "cannot be read as plain arrays"),
        ("in.xlsx", b"", "ends in .npz"),
        ("absent.npy", None, "absent.npy: not there; expected a file or a folder of inputs"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongUse, match=said):
        list(pieces(path, manifest()))


def test_arrays_that_cannot_be_read_by_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "in.npy"
    for array, said in (
        (np.asfortranarray(np.ones((4, 3))), "column by column"),
        (np.float32(1), "with an axis of rows"),
        (np.zeros((0, 3)), "no rows"),
    ):
        np.save(path, array)
        with pytest.raises(WrongUse, match=said):
            list(pieces(path, manifest()))
    np.save(path, np.ones((4, 3)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WrongUse, match="ends 1 bytes too early"):
        list(pieces(path, manifest()))


def test_a_folder_is_read_by_name_and_a_bad_file_is_a_reason(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    np.save(inputs / "b.npy", np.array([3, 2, 1], np.float32))
    (inputs / "a.json").write_text("[1, 2, 3]")
    (inputs / "c.json").write_text("{")
    (inputs / "notes.txt").write_text("left alone")
    rows = [row for piece in pieces(inputs, manifest()) for row in answers(session(), piece)]
    assert [(row.file, row.name, row.reason) for row in rows] == [
        ("a.json", "high", ""), ("b.npy", "low", ""), ("c.json", "", Reason.INPUT_UNREADABLE)
    ]  # fmt: skip
    with writing(tmp_path / "out.csv", width=3) as writer:
        writer.add(rows)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["a.json", "b.npy", "c.json"]


def test_rows_are_run_at_once_where_that_changes_no_answer() -> None:
    runs: list[int] = []

    def run(inputs: Any) -> Any:
        runs.append(len(inputs["x"]))
        return {"y": inputs["x"]}

    piece = Piece({"x": np.vstack([np.ones((40, 3)), [[np.nan, 0, 0]]]).astype(np.float32)})
    assert sum(not row.reason for row in answers(session(run, OPEN), piece)) == 40
    assert runs == [32, 8]
    runs.clear()
    scaled = replace(OPEN, artifact=replace(OPEN.artifact, scheme="dynamic-onnx"))
    assert len(answers(session(run, scaled), piece)) == 41
    assert set(runs) == {1}


def test_a_file_that_was_not_finished_does_not_have_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with pytest.raises(TypeError), writing(path, width=3) as writer:
        writer.add([Row(1, "middle", (0.0, 1.0, 0.0)), None])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_lines_of_json_and_an_empty_document_are_written(tmp_path: Path) -> None:
    with writing(tmp_path / "out.jsonl", width=2) as writer:
        writer.add([Row(1, "b", (0.5, 0.5)), Row(reason=Reason.INPUT_SHAPE)])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [1, -1]
    assert "file" not in lines[0]
    with writing(tmp_path / "out.json", width=2):
        pass
    assert json.loads((tmp_path / "out.json").read_text()) == []


@pytest.mark.parametrize(
    ("outputs", "labels", "width"),
    [
        ((OUTPUT,), ("low", "middle", "high"), 3),
        ((TensorSpec("p", "float32", (1, 1), meaning="probabilities"),), ("no", "yes"), 2),
        ((TensorSpec("s", "float32", (1, 1), meaning="score"),), (), 1),
        ((TensorSpec("l", "int64", (1,), meaning="label"),), ("a", "b"), 1),
        (
            (
                TensorSpec("u", "float32", (1, 2), meaning="values"),
                TensorSpec("v", "float32", (1, 1), meaning="values"),
            ),
            (),
            3,
        ),
    ],
)
def test_the_width_of_an_answer_is_known_before_the_first(
    outputs: tuple[TensorSpec, ...], labels: tuple[str, ...], width: int
) -> None:
    described = manifest(outputs=outputs, labels=labels)
    answer = answering(described)({spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs})
    assert answer_width(described) == len(answer.outputs) == width
