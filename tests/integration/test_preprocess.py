"""Resizing as TensorFlow does it: what a network was trained on elsewhere is what the device makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sprat_device.contract.preprocess import read

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
