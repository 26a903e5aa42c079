"""The ONNX schemes on real conversions: what each makes, when it is none, and that it makes the same bytes again."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from tests import onnx_models

from sprat import cli
from sprat.compiler import schemes
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Work
from sprat.errors import GateFailed
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
QDQ = tuple(name for name in schemes.SCHEMES if name.startswith("qdq-") and name != "qdq-mixed")
LOSSY = ("float16-onnx", "dynamic-onnx", "dynamic-onnx-s8-pc", *QDQ)


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA", "RUNTIMES", "CACHE"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The CNN with a layer that dominates it, as a job in the worker gets it."""
    path = tmp_path_factory.mktemp("given") / "given.onnx"
    path.write_bytes(onnx_models.cnn(hidden=96).SerializeToString())
    return _work(path), _parts()


@pytest.fixture(scope="module")
def made(given):
    """What a scheme makes of it, converted once for all tests that only look at it."""
    return functools.cache(lambda name: _lower(name, given))


def _work(path):
    return Work("", "onnx", "classification", "given", given=str(path), input_names=("image",))


def _parts(calibration=60):
    images, classes = onnx_models.digits()
    cuts = {"train": slice(1000, 1050), "calibration": slice(1100, 1100 + calibration)}
    return {name: Part({"image": images[cut]}, classes[cut]) for name, cut in cuts.items()}


def _lower(name, given):
    work, parts = given
    return schemes.load(name).lower(work, lambda: parts)


def _answers(artifact, rows):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(artifact, options)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[-1] for row in rows])


def _build(folder, capsys, *arguments):
    code = cli.main(["build", str(folder), "--out", str(folder / "out"), "--runner", "local", "--json", *arguments])
    said = capsys.readouterr()
    return code, (json.loads(said.out) if code == 0 else said.err.splitlines())


def _manifest(document):
    with Path(document["bundles"][0]["path"]).open("rb") as file, bundles.read(file) as bundle:
        return bundle.manifest


@pytest.mark.parametrize("name", LOSSY)
def test_every_scheme_gives_a_smaller_file_with_the_same_answers(made, name):
    plain, one = made("given-onnx"), made(name)
    images, _ = onnx_models.digits()
    rows = images[1300:1450]
    off = np.abs(_answers(plain.artifact, rows) - _answers(one.artifact, rows))
    agreed = np.mean(_answers(plain.artifact, rows).argmax(1) == _answers(one.artifact, rows).argmax(1))
    assert agreed > 0.95
    assert 0 < off.max() < 0.4
    assert len(one.artifact) < len(plain.artifact) * (0.52 if name == "float16-onnx" else 0.32)
    assert one.inputs == plain.inputs
    assert one.outputs == plain.outputs
    assert {op.split(".")[-1] for op in one.ops} >= {"Softmax"}


def test_the_grid_is_twelve_different_files(made):
    assert len(QDQ) == 12
    # ONNX Runtime's own setting of Entropy has one range to choose from and gives the bytes of MinMax.
    assert len({hashlib.sha256(one.artifact).hexdigest() for one in map(made, QDQ)}) == 12
    for name in QDQ:
        one = made(name)
        model = onnx.load_from_string(one.artifact)
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        scales = [values[node.input[1]] for node in model.graph.node if node.op_type == "DequantizeLinear"]
        zeros = [values[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
        assert any(scale.size > 1 for scale in scales) == name.endswith("-pc")
        assert {zero.dtype for zero in zeros} == {np.dtype("int8" if "-s8" in name else "uint8")}
        if "-s8" in name:
            assert all(np.all(zero == 0) for zero in zeros)
        assert one.options["calibration_rows"] == 60
        assert one.options["kept_float"] == ["/Softmax"]
        assert "ai.onnx.DequantizeLinear" in one.ops


def test_signed_weights_leave_a_bit_for_cpus_that_saturate(made):
    model = onnx.load_from_string(made("qdq-minmax-u8-pc").artifact)
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert max(int(np.abs(w.astype(int)).max()) for w in weights if w.ndim > 1) <= 64


ONCE_MORE = """
import hashlib, sys
from pathlib import Path
from tests.integration import test_onnx as t
given = (t._work(sys.argv[1]), t._parts())
for name in sys.argv[2:]:
    print(name, hashlib.sha256(t._lower(name, given).artifact).hexdigest())
"""


def test_the_same_bytes_twice_and_in_two_processes(given, made):
    names = ("float16-onnx", "dynamic-onnx", "qdq-minmax-u8-pc", "qdq-percentile-s8", "qdq-entropy-u8")
    here = [f"{name} {hashlib.sha256(made(name).artifact).hexdigest()}" for name in names]
    assert here == [f"{name} {hashlib.sha256(_lower(name, given).artifact).hexdigest()}" for name in names]
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", ONCE_MORE, given[0].given, *names], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert [line for line in done.stdout.splitlines() if line.split()[0] in names] == here


def test_one_calibration_row_is_one_line(given):
    for name in ("qdq-minmax-u8", "qdq-entropy-s8-pc"):
        with pytest.raises(
            GateFailed, match=r"calibration: 1 row, a range needs 2 or more; give data\.split"
        ) as caught:
            _lower(name, (given[0], _parts(calibration=1)))
        assert caught.value.code == GateCode.CONVERSION_FAILED


def test_ranges_come_from_rows_without_missing_values(given):
    work, parts = given
    images = parts["calibration"].inputs["image"].copy()
    images[: len(images) - 5, 0, 0, 0] = np.nan
    holed = {**parts, "calibration": Part({"image": images}, parts["calibration"].labels)}
    assert _lower("qdq-percentile-u8", (work, holed)).options["calibration_rows"] == 5
    images[:] = np.nan
    with pytest.raises(GateFailed, match="calibration: 0 row without a missing value"):
        _lower("qdq-percentile-u8", (work, holed))


def _saved(tmp_path, nodes, shape, weights=(), kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", kind, ["n", *shape])],
        [helper.make_tensor_value_info("scores", kind, ["n", None])], list(weights),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    return _work(tmp_path / "g.onnx"), _parts()


@pytest.mark.parametrize("name", [name for name in LOSSY if name != "float16-onnx"])
def test_nothing_to_quantize_is_a_no_op(tmp_path, name):
    nodes = [helper.make_node("Flatten", ["image"], ["f"]), helper.make_node("Softmax", ["f"], ["scores"])]
    with pytest.raises(GateFailed, match="nothing to quantize: no MatMul, Gemm or Conv") as caught:
        _lower(name, _saved(tmp_path, nodes, (1, 8, 8)))
    assert caught.value.code == GateCode.NO_OP


def test_what_is_quantized_already_is_not_quantized_again(tmp_path, made):
    path = tmp_path / "q.onnx"
    path.write_bytes(made("qdq-minmax-u8").artifact)
    for name in ("float32-cast", "float16-onnx", "dynamic-onnx", "qdq-minmax-u8"):
        with pytest.raises(GateFailed, match="quantized already") as caught:
            _lower(name, (_work(path), _parts()))
        assert caught.value.code == GateCode.NO_OP


def test_an_old_opset_and_nodes_without_names_are_quantized_too(tmp_path):
    model = onnx_models.cnn()
    model.opset_import[0].version = 11  # its operators mean the same there
    for node in model.graph.node:
        node.name = ""
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    made = _lower("qdq-minmax-u8-pc", (_work(tmp_path / "old.onnx"), _parts()))
    assert "ai.onnx.QuantizeLinear" in made.ops
    assert made.options["kept_float"]
    assert made.options["opsets"]["ai.onnx"] >= 13


def test_a_bias_in_two_dimensions_is_quantized_per_channel(tmp_path):
    model = onnx_models.cnn()
    # A MatMul and an Add of [1, 10], as Keras exports a dense layer: they are fused to a Gemm with that bias.
    weight = next(t for t in model.graph.initializer if t.name == "fc.weight")
    bias = next(t for t in model.graph.initializer if t.name == "fc.bias")
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight).T), "fc.weight"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[None], "fc.bias"))
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    del model.graph.node[place]
    model.graph.node.insert(place, helper.make_node("MatMul", ["f", "fc.weight"], ["product"], "/product"))
    model.graph.node.insert(place + 1, helper.make_node("Add", ["product", "fc.bias"], ["logits"], "/sum"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    given = _work(tmp_path / "m.onnx"), _parts()
    made = _lower("qdq-minmax-u8-pc", given)
    assert "ai.onnx.Gemm" in made.ops
    images, _ = onnx_models.digits()
    rows = images[1300:1400]
    plain = _lower("given-onnx", given)
    assert np.mean(_answers(plain.artifact, rows).argmax(1) == _answers(made.artifact, rows).argmax(1)) > 0.95


def test_a_float64_file_becomes_float32_and_passes_gate_a(tmp_path, capsys):
    images, classes = onnx_models.digits()
    fitted = LogisticRegression(max_iter=300).fit(images[:900].reshape(900, -1), classes[:900])
    weights = [
        numpy_helper.from_array(np.float64(value), name)
        for name, value in (("w", fitted.coef_), ("b", fitted.intercept_))
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    work, _ = _saved(tmp_path, nodes, (1, 8, 8), weights, TensorProto.DOUBLE)
    model = Path(work.given).read_bytes()
    folder = onnx_models.project(tmp_path / "p", model, lines='schemes = ["given-onnx", "float32-cast"]', count=400)
    code, document = _build(folder, capsys)
    assert code == 0, document
    manifest = _manifest(document)
    assert manifest.artifact.scheme == "float32-cast"
    assert manifest.inputs[0].dtype == "float32"
    assert manifest.provenance["options"]["from"] == "float64"


def test_thin_layers_get_bigger_by_quantization_and_the_gate_says_so(tmp_path, capsys):
    rng = np.random.default_rng(0)
    model = onnx_models.cnn()
    # Thirty layers of 10 x 10 that hardly change the scores: a node and its ranges take more bytes than the weights save.
    del model.graph.node[-1]
    last = "logits"
    for place in range(30):
        weight = np.eye(10) + rng.normal(0, 0.0001, (10, 10))
        model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), f"thin.{place}"))
        model.graph.node.append(helper.make_node("MatMul", [last, f"thin.{place}"], [f"t{place}"], f"/thin/{place}"))
        last = f"t{place}"
    model.graph.node.append(helper.make_node("Softmax", [last], ["scores"], "/Softmax", axis=1))
    folder = onnx_models.project(tmp_path / "p", model, lines='schemes = ["given-onnx", "qdq-minmax-s8-pc"]', count=400)
    code, document = _build(folder, capsys)
    assert code == 0, document
    rows = {row["scheme"]: row for row in document["candidates"]}
    assert rows["qdq-minmax-s8-pc"]["size"] > rows["given-onnx"]["size"]
    assert rows["qdq-minmax-s8-pc"]["reason"].startswith("not-smaller: ")


@pytest.mark.slow
def test_the_search_tries_a_few_and_the_bundle_says_how_the_best_was_made(tmp_path, capsys):
    folder = onnx_models.project(tmp_path / "p", onnx_models.cnn(hidden=96))
    code, document = _build(folder, capsys)
    assert code == 0, document
    rows = {row["scheme"]: row for row in document["candidates"]}
    assert list(rows) == [
        "given-onnx", "float32-cast", "float16-onnx", "dynamic-onnx", "qdq-minmax-u8", "qdq-minmax-u8-pc",
        "qdq-percentile-u8-pc", "qdq-mixed",
    ]  # fmt: skip
    assert rows["qdq-mixed"]["reason"].startswith("not-needed: ")
    assert rows["float32-cast"]["reason"].startswith("no-op: ")
    (chosen,) = [row for row in rows.values() if row["chosen"]]
    assert chosen["size"] < rows["given-onnx"]["size"] * 0.3
    manifest = _manifest(document)
    assert manifest.artifact.scheme == chosen["scheme"]
    assert set(manifest.runtimes) == {"onnx"}
    assert manifest.provenance["options"]["onnxruntime"]
    again = folder / "again"
    assert cli.main(["build", str(folder), "--out", str(again), "--runner", "local", "--quiet"]) == 0
    made = Path(document["bundles"][0]["path"])
    assert (again / made.name).read_bytes() == made.read_bytes()


@pytest.mark.slow
def test_a_keras_model_is_quantized_as_onnx_where_the_recipe_names_it(tmp_path, capsys):
    names = ["float32-onnx", "float16-onnx", "dynamic-onnx", "qdq-minmax-u8"]
    line = ["build", str(ROOT / "models" / "digits"), "--out", str(tmp_path / "out"), "--runner", "local", "--json"]
    overrides = ["train.epochs=4", "gates.min_metric=0.5", "gates.max_drop=0.2", "gates.min_agreement=0.5"]
    overrides += ["gates.max_recall_drop=1.0", f"schemes={json.dumps(names)}"]
    code = cli.main([*line, *(part for item in overrides for part in ("--set", item))])
    said = capsys.readouterr()
    assert code == 0, said.err
    rows = {row["scheme"]: row for row in json.loads(said.out)["candidates"]}
    assert list(rows) == names
    assert all(row["chosen"] or row["reason"].startswith(("outranked: ", "not-smaller: ")) for row in rows.values())
    assert rows["float16-onnx"]["size"] < 0.65 * rows["float32-onnx"]["size"]


def test_a_target_without_onnx_runtime_is_told_before_anything_runs(tmp_path, capsys):
    folder = onnx_models.project(tmp_path / "p", onnx_models.cnn())
    (folder / "targets").mkdir()
    text = (ROOT / "models" / "targets" / "generic-x86_64.toml").read_text()
    text = text.replace("generic-x86_64", "bare")[: text.index("[runtimes.onnx]") - 20]
    (folder / "targets" / "bare.toml").write_text(text[: text.rindex("]") + 1] + "\n")
    code, lines = _build(folder, capsys, "--target", "bare")
    assert code == 2
    assert "which run no artifact of onnx" in lines[-1]
