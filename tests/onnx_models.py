"""Small .onnx files as PyTorch's exporter writes them, made without it: node names, a batch called `batch`, opset 21."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

CHANNELS = 16


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits as [n, 1, 8, 8] from 0 to 1, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def cnn(*, batch: int | str = "batch", side: int | str = 8, hidden: int = 0, seed: int = 0) -> Any:
    """Return Conv, Relu, MaxPool, Flatten, Gemm, Softmax; the last layer is fitted, what stands before it is random.

    With `hidden` a Gemm of that width stands between, so that weights dominate the file.
    """
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    images, classes = digits()
    kernel = rng.normal(0, 0.4, (CHANNELS, 1, 3, 3)).astype(np.float32)
    bias = rng.normal(0, 0.1, CHANNELS).astype(np.float32)
    middle = rng.normal(0, 0.06, (CHANNELS * 16, hidden)).astype(np.float32)
    features = _features(images[:1000], kernel, bias)
    if hidden:
        features = np.maximum(features @ middle, 0)
    fitted = LogisticRegression(C=1.0, max_iter=300).fit(features, classes[:1000])
    weights = {"conv.weight": kernel, "conv.bias": bias}
    weights |= {"fc.weight": fitted.coef_.astype(np.float32), "fc.bias": fitted.intercept_.astype(np.float32)}
    nodes = [
        helper.make_node(
            "Conv", ["image", "conv.weight", "conv.bias"], ["c"], "/conv/Conv",
            dilations=[1, 1], group=1, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1],
        ),
        helper.make_node("Relu", ["c"], ["r"], "/relu/Relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "/Flatten", axis=1),
    ]  # fmt: skip
    last = "f"
    if hidden:
        weights["mid.weight"] = np.ascontiguousarray(middle.T)
        nodes.append(helper.make_node("Gemm", ["f", "mid.weight"], ["m"], "/mid/Gemm", transB=1))
        nodes.append(helper.make_node("Relu", ["m"], ["h"], "/mid/Relu"))
        last = "h"
    nodes.append(helper.make_node("Gemm", [last, "fc.weight", "fc.bias"], ["logits"], "/fc/Gemm", transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], "/Softmax", axis=1))
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, side, side])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], producer_name="pytorch", ir_version=10
    )
    checker.check_model(model)
    return model


def project(folder: Path, model: Any, *, lines: str = "", framework: str = "onnx", count: int = 900) -> Path:
    """Write a recipe with a given file and the digits' rows that it was not fitted on, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "given.onnx").write_bytes(raw)
    images, classes = digits()
    names = np.array([str(n) for n in range(10)])
    np.savez(folder / "rows.npz", image=images[-count:], label=names[classes[-count:]])
    (folder / "recipe.toml").write_text(RECIPE.format(framework=framework, lines=lines))
    return folder


def _features(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    seen = np.maximum(np.einsum("nijhw,chw->ncij", windows, kernel[:, 0]) + bias[:, None, None], 0)
    return seen.reshape(len(seen), CHANNELS, 4, 2, 4, 2).max(axis=(3, 5)).reshape(len(seen), -1)


RECIPE = """\
schema = "sprat.recipe/1"
model = "given"
task = "classification"
metric = "accuracy"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
prefer = ["size"]
{lines}

[data]
file = "rows.npz"

[data.split]
train = 0.2
calibration = 0.2
validation = 0.1
test = 0.5

[train]
framework = "{framework}"
given = "given.onnx"

[inputs.image]
minimum = 0.0
maximum = 1.0

[gates]
max_drop = 0.05
min_agreement = 0.9
max_recall_drop = 0.2
"""
