import json

import numpy as np
import pytest

from sprat import cli
from sprat.compiler.spec import project
from sprat.data.table import write_table
from sprat_device.contract.frame import FrameHeader, Ledger, seal
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.records import Row, encode_rows


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("DATA_DIR", "RUNS_DIR", "RUNTIMES_DIR"):
        monkeypatch.setenv(f"SPRAT_{name}", str(tmp_path / name.lower()))


def _json(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("template", ["tabular", "image", "sensor"])
def test_init_makes_a_whole_project_whose_recipe_parses(tmp_path, capsys, template):
    folder = tmp_path / "my-model"
    assert cli.main(["init", str(folder), "--template", template, "--json"]) == 0
    assert _json(capsys)["model"] == "my-model"
    source = project.read(folder)
    assert source.recipe.model == "my-model"
    assert project.find_targets(source.recipe.targets, source, tmp_path)[0].name == "generic-x86_64"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-model"]


def test_init_touches_nothing_that_is_there(tmp_path, capsys):
    (tmp_path / "x").write_text("mine")
    assert cli.main(["init", str(tmp_path)]) == 2
    assert cli.main(["init", str(tmp_path / "y"), "--template", "audio"]) == 2
    assert cli.main(["init", str(tmp_path / "Y Z")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert capsys.readouterr().err.count("\n") == 3


def test_data_is_added_listed_shown_and_checked(tmp_path, capsys):
    (tmp_path / "readings.csv").write_text("a,b\n1,2\n3,4\n")
    assert cli.main(["data", "add", str(tmp_path / "readings.csv"), "--json"]) == 0
    made = _json(capsys)
    assert cli.main(["data", "list", "--json"]) == 0
    assert _json(capsys)["snapshots"] == [made]
    assert cli.main(["data", "show", made["sha256"][:8], "--json"]) == 0
    assert _json(capsys)["columns"] == {"a": "float64", "b": "float64"}
    assert cli.main(["data", "check", "readings"]) == 0
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,4\n")
    assert cli.main(["data", "check", str(tmp_path / "bad.csv")]) == 0
    assert cli.main(["data", "check", str(tmp_path / "bad.csv"), "--strict"]) == 1
    assert "constant" in capsys.readouterr().err


def test_inspect_knows_arrays_frames_and_metadata_by_their_content(tmp_path, capsys):
    write_table(tmp_path / "arrays", {"x": np.zeros((2, 3), np.float32)})
    assert cli.main(["inspect", str(tmp_path / "arrays"), "--json"]) == 2  # an archive that is neither .npz nor bundle
    write_table(tmp_path / "arrays.npz", {"x": np.zeros((2, 3), np.float32)})
    capsys.readouterr()
    assert cli.main(["inspect", str(tmp_path / "arrays.npz"), "--json"]) == 0
    assert _json(capsys)["arrays"] == {"x": "float32 [2, 3]"}
    header = FrameHeader(Lane.EVENTS, 1, 2, 1, bytes(16), 1, 1, 1, 1, ClockState.SYNCHRONISED, Ledger(1))
    (tmp_path / "frame").write_bytes(seal(header, encode_rows([Row("input-range", 1, 1, {"row": 3})])))
    assert cli.main(["inspect", str(tmp_path / "frame"), "--json"]) == 0
    found = _json(capsys)
    assert (found["kind"], found["rows"][0]["code"]) == ("frame", "input-range")
    signed = {"_type": "snapshot", "version": 3, "expires": "2030-01-01T00:00:00Z", "meta": {}}
    (tmp_path / "3.snapshot.json").write_text(json.dumps({"signed": signed, "signatures": [{"keyid": "k"}]}))
    assert cli.main(["inspect", str(tmp_path / "3.snapshot.json"), "--json"]) == 0
    assert _json(capsys)["version"] == 3


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a", b"plain text", 2), ("b.json", b"{}", 2), ("c.sprat", b"PK\x03\x04", 1), ("d", b"SPRF short", 2)],
)
def test_inspect_says_what_it_cannot_read(tmp_path, capsys, name, content, code):
    (tmp_path / name).write_bytes(content)
    assert cli.main(["inspect", str(tmp_path / name)]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_runs_of_nothing_are_an_empty_list(capsys):
    assert cli.main(["runs", "list", "--json"]) == 0
    assert _json(capsys) == {"runs": []}
    assert cli.main(["runs", "show", "x"]) == 2


def test_a_runtime_that_is_not_known_or_not_there_is_wrong_use(capsys):
    assert cli.main(["runtimes", "add", "tensorrt"]) == 2
    assert cli.main(["runtimes", "add", "tflite", "--name", "../up"]) == 2
    assert cli.main(["runtimes", "remove", "tflite"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
