"""Mixed precision in ONNX: where 8 bits throughout change answers, the layers to blame stay float."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier
from tests import onnx_models

from sprat import cli
from sprat.compiler import schemes
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import NotNeeded, Work
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "RUNTIMES", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


def _folded(folder):
    """Write a network whose scaler is folded into its first layer: features of 0.01 to 10,000 then share one scale."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2400, 6))
    classes = (np.sin(2 * features[:, 0]) + features[:, 1] * features[:, 2] + 0.5 * features[:, 3] > 0).astype(np.int64)
    scale, middle = np.array([1e-2, 1, 10, 1e3, 1e4, 0.1]), np.array([0.03, 3, 30, 3e3, 3e4, 0.3])
    net = MLPClassifier((96, 96), random_state=0, max_iter=500).fit(features[:1200], classes[:1200])
    first, *others = zip(net.coefs_, net.intercepts_, strict=True)
    folded = [(first[0] / scale[:, None], first[1] - (middle / scale) @ first[0]), *others]
    nodes, weights, last = [], [], "x"
    for place, (weight, bias) in enumerate(folded):
        weights += [numpy_helper.from_array(weight.astype(np.float32), f"w{place}"),
                    numpy_helper.from_array(bias.astype(np.float32), f"b{place}")]  # fmt: skip
        nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [f"g{place}"], f"layer{place}"))
        last = f"g{place}"
        if place < len(folded) - 1:
            nodes.append(helper.make_node("Relu", [last], [f"r{place}"], f"relu{place}"))
            last = f"r{place}"
    nodes.append(helper.make_node("Sigmoid", [last], ["scores"], "sigmoid"))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])], weights,
    )  # fmt: skip
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (folder / "given.onnx").write_bytes(model.SerializeToString())
    rows = (features[1200:] * scale + middle).astype(np.float32)
    np.savez(folder / "rows.npz", x=rows, label=np.array(["no", "yes"])[classes[1200:]])
    recipe = onnx_models.RECIPE.format(
        framework="onnx", lines='schemes = ["given-onnx", "qdq-minmax-u8-pc", "qdq-mixed"]'
    )
    recipe = re.sub(r"labels = .*", 'labels = ["no", "yes"]', recipe)
    (folder / "recipe.toml").write_text(re.sub(r"\[inputs.image\]\nminimum.*\nmaximum.*\n", "[inputs.x]\n", recipe))
    return folder


def test_where_all_of_it_in_8_bits_collapses_the_layer_to_blame_stays_float(tmp_path, capsys):
    folder = _folded(tmp_path / "p")
    code = cli.main(["build", str(folder), "--out", str(folder / "out"), "--runner", "local", "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    document = json.loads(said.out)
    rows = {row["scheme"]: row for row in document["candidates"]}
    assert rows["qdq-minmax-u8-pc"]["metric"] < rows["given-onnx"]["metric"] - 0.1
    assert rows["qdq-mixed"]["chosen"], rows["qdq-mixed"]["reason"]
    assert rows["qdq-mixed"]["drop_high"] < 0.02
    assert rows["qdq-mixed"]["size"] < 0.6 * rows["given-onnx"]["size"]
    with Path(document["bundles"][0]["path"]).open("rb") as file, bundles.read(file) as bundle:
        assert bundle.manifest.provenance["options"]["float_layers"][0] == "layer0"


def test_where_8_bits_are_close_nothing_is_left_float(tmp_path):
    (tmp_path / "given.onnx").write_bytes(onnx_models.cnn(hidden=96).SerializeToString())
    work = Work("", "onnx", "classification", "given", given=str(tmp_path / "given.onnx"), input_names=("image",))
    images, classes = onnx_models.digits()
    parts = {
        "train": Part({"image": images[:9]}, classes[:9]),
        "calibration": Part({"image": images[50:90]}, classes[50:90]),
    }
    with pytest.raises(NotNeeded, match=r"close to float: its answers differ by 0\.0"):
        schemes.load("qdq-mixed").lower(work, lambda: parts)
