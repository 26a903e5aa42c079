"""Batch files: named columns in, answers out, and a clear word for a file that does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.device.inference.bundles import manifest, session

from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference import tables
from sprat_device.inference.infer import answers, raw_outputs


def test_columns_are_found_by_feature_name_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("c,id,a,b\n3,x,1,2\n6,y,4,5\n")
    assert tables.read(path, manifest())["x"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_text_columns_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("colour,n\nred,1\nblue,2\n")
    inputs = (TensorSpec("colour", "string", (-1, 1)), TensorSpec("n", "int64", (-1, 1)))
    found = tables.read(path, manifest(inputs=inputs))
    assert found["colour"].tolist() == [["red"], ["blue"]]
    assert found["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aa,b,c\n1,2,3\n", "column 'a' is missing; did you mean 'aa'"),
        ("a,b,c\n1,2\n", "row 0 has 2 cells"),
        ("a,b,c\n", "no rows"),
        ("", "no rows"),
        ("a,b,c\n1,2,many\n", "many"),
    ],
)
def test_a_table_that_does_not_fit_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(WrongUse, match=said):
        tables.read(path, manifest())


def test_an_empty_cell_is_a_bad_input_of_its_row_only(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b,c\n1,,3\n1,2,3\n")
    found = answers(session(), tables.read(path, manifest()))
    assert found[0].reason == Reason.INPUT_NON_FINITE
    assert (found[1].label, found[1].name, found[1].outputs) == (2, "high", (1.0, 2.0, 3.0))


def test_answers_are_written_in_three_ways(tmp_path: Path) -> None:
    rows = [tables.Row(2, "high", (0.25, 0.75)), tables.Row(reason=Reason.INPUT_RANGE)]
    for suffix in (".csv", ".json", ".npz"):
        path = tmp_path / f"out{suffix}"
        tables.writer(path, raw=False)(path, rows)
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
        tables.writer(Path("out.xlsx"), raw=False)
    with pytest.raises(WrongUse, match="--output"):
        tables.writer(Path("out.csv"), raw=True)


def test_raw_outputs_run_row_by_row_and_let_the_range_pass() -> None:
    opened = session()
    inputs = {"x": np.array([[1, 2, 3], [1e4, 0, 0]], np.float32)}
    assert raw_outputs(opened, inputs)["y"].tolist() == inputs["x"].tolist()
    inputs["x"][1, 0] = np.nan
    with pytest.raises(WrongUse, match="row 1: input-non-finite"):
        raw_outputs(opened, inputs)
