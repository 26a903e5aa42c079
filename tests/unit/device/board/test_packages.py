"""Versions by the names of metadata folders: the same as importlib.metadata says."""

from __future__ import annotations

from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from sprat_device.board import packages


@pytest.mark.parametrize(
    ("folder", "package", "wanted"),
    [
        ("tflite_runtime-2.14.0.dist-info", "tflite-runtime", "2.14.0"),
        ("numpy-1.24.2.egg-info", "numpy", "1.24.2"),
        ("numpy-1.24.2-py3.11.egg-info", "numpy", "1.24.2"),
        ("Ai_Edge.LiteRT-2.3.0rc1.dist-info", "ai-edge-litert", "2.3.0rc1"),
        ("paho_mqtt-2.1.0+local.1.dist-info", "paho-mqtt", "2.1.0+local.1"),
        ("numpy_financial-1.0.dist-info", "numpy", None),
        ("numpy", "numpy", None),
    ],
)
def test_a_folder_tells_its_packages_version(tmp_path: Path, folder: str, package: str, wanted: str | None) -> None:
    (tmp_path / folder).mkdir()
    assert packages.version(package, folders=[str(tmp_path / "absent"), str(tmp_path)]) == wanted


def test_the_first_folder_of_the_path_counts(tmp_path: Path) -> None:
    for folder, number in (("a", "2"), ("b", "1")):
        (tmp_path / folder / f"numpy-{number}.dist-info").mkdir(parents=True)
    assert packages.version("numpy", folders=[str(tmp_path / "a"), str(tmp_path / "b")]) == "2"


def test_it_says_what_importlib_says() -> None:
    named = [found.metadata["Name"] for found in distributions()]
    assert "numpy" in named
    assert {name: packages.version(name) for name in named} == {name: version(name) for name in named}
