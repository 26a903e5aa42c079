"""The tiny artifacts of the health check are part of what is installed, and of the size that they should have."""

from __future__ import annotations

from pathlib import Path

from sprat_device.inference import runtimes


def test_they_are_there() -> None:
    folder = Path(runtimes.__file__).with_name("tiny")
    assert (folder / "double.tflite").read_bytes()[4:8] == b"TFL3"
    assert b"double" in (folder / "double.onnx").read_bytes()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2048
