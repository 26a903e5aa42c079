"""Batch files that need a library of the workstation: Parquet by pyarrow, encoded images by Pillow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.daemons import softmax
from tests.unit.device.inference.bundles import manifest, session, write

from sprat_device.__main__ import main
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.contract.manifest import TensorSpec, Tolerance
from sprat_device.contract.phases import Reason
from sprat_device.inference.batch.reading import pieces
from sprat_device.inference.batch.writing import require_known, writing
from sprat_device.inference.infer import answers

pytestmark = pytest.mark.integration
IMAGE = manifest(
    inputs=(TensorSpec("image", "float32", (1, 2, 2, 3)),),
    outputs=(TensorSpec("y", "float32", (1, 12), meaning="values"),),
    labels=(),
)


def test_what_was_run_is_told_to_people_or_as_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = GoldenSet({"x": np.zeros((1, 3), np.float32)}, {"onnx": {"y": np.full((1, 3), 1 / 3, np.float32)}})
    bundle = tmp_path / "tiny.sprat"
    write(bundle, manifest(), softmax(), golden, tolerance=Tolerance("absolute", 1e-5))
    (tmp_path / "in.csv").write_text("a,b,c\n1,2,3\n4,5,600\n,2,3\n1,1,99\n")
    line = ["infer", str(bundle), str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    assert main([*line, "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    document = json.loads(told.out)
    assert document.pop("runtime_version")
    assert document == {
        "output": str(tmp_path / "out.csv"), "rows": 4, "bad": 3, "runtime": "onnx",
        "reasons": {"input-range": 2, "input-non-finite": 1},
    }  # fmt: skip
    assert main(line) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.endswith(", 3 bad inputs: input-range 2, input-non-finite 1\n")
    (tmp_path / "link.csv").symlink_to("in.csv")
    assert main([*line[:3], "--output", str(tmp_path / "link.csv")]) == 2
    assert "that is the input, which would be lost" in capsys.readouterr().err


def test_parquet_is_read_by_feature_or_by_lists_and_written(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    features = {"c": [3.0, 6.0], "a": [1.0, None], "b": [2, 5], "id": ["one", "two"]}
    pq.write_table(pa.table(features), path)
    (piece,) = pieces(path, manifest())
    rows = answers(session(), piece)
    assert [(row.name, row.reason) for row in rows] == [("high", ""), ("", Reason.INPUT_NON_FINITE)]
    pq.write_table(pa.table({"x": [[1.0, 2.0, 3.0]] * 2500}), path)
    assert [piece.count for piece in pieces(path, manifest())] == [1024, 1024, 452]
    out = tmp_path / "out.parquet"
    with writing(out, width=3) as writer:
        writer.add(rows)
        writer.add(rows)
    table = pq.read_table(out).to_pydict()
    assert table["name"] == ["high", "", "high", ""]
    assert table["outputs"][0] == [1.0, 2.0, 3.0]
    assert table["reason"][1] == "input-non-finite"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "column 'a' is missing; did you mean 'aa'"), (b"PAR1", "cannot be read as Parquet")],
)
def test_a_parquet_file_that_does_not_fit_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"aa": [1.0], "b": [2.0], "c": [3.0]}), path)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongUse, match=said):
        list(pieces(path, manifest()))


def test_images_are_read_by_name_and_a_broken_one_is_a_reason(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 no image")
    Image.fromarray(pixels[:1]).save(tmp_path / "c.PNG")
    rows = [
        row
        for piece in pieces(tmp_path, IMAGE)
        for row in answers(session(lambda inputs: {"y": inputs["image"].reshape(1, 12)}, IMAGE), piece)
    ]
    assert [(row.file, row.reason) for row in rows] == [
        ("a.png", ""), ("b.jpg", Reason.INPUT_UNREADABLE), ("c.PNG", Reason.INPUT_SHAPE)
    ]  # fmt: skip
    assert rows[0].outputs == tuple(range(12))


def test_what_a_device_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MachineLacks, match="pip install pillow"):
        list(pieces(tmp_path, IMAGE))
    with pytest.raises(MachineLacks, match="pip install pyarrow"):
        list(pieces(tmp_path / "in.parquet", IMAGE))
    with pytest.raises(MachineLacks, match="pip install pyarrow"):
        require_known(Path("out.parquet"))
