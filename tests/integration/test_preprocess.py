"""Pre-processing with real runtimes: resizing as TensorFlow does it, and one answer however a reading comes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.daemons import softmax
from tests.unit.device.inference import bundles

from sprat import load
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Tolerance
from sprat_device.contract.phases import Reason
from sprat_device.contract.preprocess import read
from sprat_device.inference import check, infer

pytestmark = pytest.mark.integration
SIZES = ((5, 7), (32, 32), (9, 40), (1, 1))

# A program of its own, so that TensorFlow's import stays out of the tests.
PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
image = np.load(sys.argv[1])
np.savez(sys.argv[2], **{
    f"{method}-{height}-{width}": tf.image.resize(image, (height, width), method=method).numpy()
    for method in ("bilinear", "nearest") for height, width in %r
})
"""


def test_resizing_gives_what_tensorflow_gives(tmp_path: Path) -> None:
    image = np.random.default_rng(2).uniform(0, 255, (17, 23, 3)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    subprocess.run(
        [sys.executable, "-c", PROGRAM % (SIZES,), tmp_path / "image.npy", tmp_path / "out.npz"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    theirs = np.load(tmp_path / "out.npz")
    for method in ("bilinear", "nearest"):
        for height, width in SIZES:
            step = {"step": "resize", "height": height, "width": width, "method": method}
            ours = read([step], "image").run(image)
            np.testing.assert_allclose(ours, theirs[f"{method}-{height}-{width}"], atol=1e-3, err_msg=f"{step}")


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    """Return a bundle whose model is a softmax of what its one step makes."""
    return written(tmp_path / "scaled.sprat", {"step": "scale", "scale": 2})


def written(path: Path, step: dict[str, Any]) -> Path:
    x = np.array([[1, 2, 3]], np.float32)
    golden = GoldenSet({"x": x}, {"onnx": {"y": np.exp(x) / np.exp(x).sum()}})
    described = replace(bundles.manifest(), preprocess={"x": (step,)})
    return bundles.write(path, described, softmax(), golden, tolerance=Tolerance("absolute", 1e-5))


def expected(row: Any) -> Any:
    doubled = np.exp(2 * np.asarray(row))
    return doubled / doubled.sum()


def test_a_notebook_a_batch_and_a_stream_get_the_same_answer(scaled: Path, tmp_path: Path) -> None:
    row = [0.5, 1.0, 0.25]
    with load(scaled) as model:
        (answer,) = model.run({"x": row})
    np.testing.assert_allclose(answer["outputs"], expected(row), atol=1e-5)
    np.save(tmp_path / "rows.npy", np.array([row], np.float32))
    out = tmp_path / "out.json"
    assert infer.main([str(scaled), str(tmp_path / "rows.npy"), "--output", str(out)]) == 0
    (told,) = json.loads(out.read_text())
    np.testing.assert_allclose(told["outputs"], expected(row), atol=1e-5)
    # The golden set is of what the model takes: the check does not prepare it again.
    assert check.check(scaled).ok


def test_a_step_of_a_newer_build_is_refused_by_its_reason(tmp_path: Path) -> None:
    found = check.check(written(tmp_path / "newer.sprat", {"step": "fourier"}))
    assert (found.ok, found.reason, found.exit_code) == (False, Reason.UNKNOWN_STEP, 1)
    assert "step 'fourier' is not known here" in found.detail
