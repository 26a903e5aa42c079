"""What sessions extract does not pile up over years of releases and cuts."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from tests.unit.device.inference import bundles

from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Tolerance
from sprat_device.inference import artifacts


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    made = tmp_path / "artifacts"
    made.mkdir()
    (tmp_path / "bundles").mkdir()
    return made


def extracted(cache: Path, artifact: bytes, *, bundle: bool) -> Path:
    """Leave an artifact as a session does, and its bundle where it is still held."""
    path = cache / f"{bundles.sha(artifact)}.onnx"
    path.write_bytes(artifact)
    if bundle:
        row = np.ones((1, 3), np.float32)
        golden = GoldenSet({"x": row}, {"onnx": {"y": row}})
        bundles.write(
            cache.parent / "bundles" / f"{path.stem}.sprat",
            bundles.manifest(),
            artifact,
            golden,
            tolerance=Tolerance("absolute", 1e-6),
        )
    return path


def test_the_artifact_of_a_bundle_that_is_gone_goes_too(cache: Path) -> None:
    gone, kept = extracted(cache, b"old", bundle=False), extracted(cache, b"new", bundle=True)
    part = cache / "tmp1.part"
    part.touch()  # a shadow's process may be extracting
    artifacts.keep_only(cache, cache.parent / "bundles")
    assert (gone.exists(), kept.exists(), part.exists()) == (False, True, True)
    artifacts.remove_parts(cache)
    assert list(cache.iterdir()) == [kept]


def test_a_bundle_that_cannot_be_read_keeps_them_all(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    may_be_its = extracted(cache, b"old", bundle=False)
    (cache.parent / "bundles" / "worn.sprat").write_bytes(b"worn")
    with caplog.at_level(logging.WARNING):
        artifacts.keep_only(cache, cache.parent / "bundles")
    assert may_be_its.exists()
    assert "may be left" in caplog.text


def test_a_device_that_has_extracted_nothing_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    artifacts.keep_only(tmp_path / "artifacts", tmp_path / "bundles")
    artifacts.remove_parts(tmp_path / "artifacts")
    assert not caplog.records
