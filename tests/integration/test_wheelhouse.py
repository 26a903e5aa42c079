"""Wheelhouses of boards that this machine is not: from the real index, for another architecture."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from sprat.cli import main
from sprat_device.contract.wheelhouse import MANIFEST, parse

pytestmark = pytest.mark.integration


def build(out: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["wheelhouse", "--out", str(out), "--json", *arguments]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_a_32_bit_board_gets_what_has_wheels_and_is_told_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path, capsys, "--target", "generic-armv7l")
    house = parse((tmp_path / "generic-armv7l-tflite" / MANIFEST).read_bytes())
    wheels = [file.name.removeprefix("wheels/") for file in house.files if file.name.startswith("wheels/")]
    projects = {name.split("-")[0] for name in wheels}
    assert projects == {
        "cryptography", "paho_mqtt", "pip", "securesystemslib", "sprat_device", "tflite_runtime", "tuf", "urllib3",
    }  # fmt: skip
    assert all(name.endswith(("_armv7l.whl", "-none-any.whl")) for name in wheels)
    assert made["debian"] == ["python3-cffi-backend", "python3-msgpack", "python3-numpy", "python3-zstandard"]


def test_the_same_wheelhouse_again_has_the_same_bytes_and_each_wheel_is_listed_by_its_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ("--target", "pi-zero-2w", "--runtime", "tflite")
    one = build(tmp_path, capsys, *target)
    folder = tmp_path / "pi-zero-2w-tflite"
    again = build(tmp_path, capsys, *target)
    assert one["sha256"] == again["sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name], "nothing is left beside it"
    house = parse((folder / MANIFEST).read_bytes())
    listed = (folder / "requirements.txt").read_text()
    for file in house.files:
        if file.name.startswith("wheels/"):
            assert zipfile.is_zipfile(folder / file.name)
            assert (f"--hash=sha256:{file.sha256}" in listed) != file.name.startswith("wheels/pip-")
    assert "numpy==1." in listed
    numpy = next(file.name for file in house.files if "numpy" in file.name)
    assert "-cp311-" in numpy
    assert numpy.endswith("_aarch64.whl")


def test_an_index_without_a_wheel_leaves_the_older_wheelhouse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    out = tmp_path / "out"
    (out / "pi-4-litert").mkdir(parents=True)
    (out / "pi-4-litert" / MANIFEST).write_text("older")
    assert main(["wheelhouse", "--target", "pi-4", "--runtime", "litert", "--out", str(out)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("sprat: no-wheel: ")
    assert [path.name for path in out.iterdir()] == ["pi-4-litert"]
    assert (out / "pi-4-litert" / MANIFEST).read_text() == "older"
