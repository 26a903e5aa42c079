"""Given .onnx files: what devices can run goes through the gates, everything else is one line with its remedy."""

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from tests import onnx_models

from sprat import cli, load
from sprat.compiler.frontends import onnx as frontend
from sprat.compiler.frontends import onnx_file
from sprat.compiler.spec.factory import Part
from sprat.compiler.workers.work import Work
from sprat.errors import RecipeError
from sprat_device.contract import bundle as bundles

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("RUNS", "DATA"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(tmp_path / name.lower()))


@pytest.fixture(scope="module")
def cnn():
    return onnx_models.cnn()


def _copy(model):
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _build(folder, capsys, *arguments):
    code = cli.main(["build", str(folder), "--out", str(folder / "out"), "--runner", "local", "--json", *arguments])
    said = capsys.readouterr()
    return code, (json.loads(said.out) if code == 0 else said.err.splitlines())


def _given(path, shape=(3, 1, 8, 8), *, task="classification", name="image"):
    work = Work("", "onnx", task, "given", given=str(path), input_names=(name,))
    rows = {name: np.zeros(shape, np.float32)}
    return frontend.given(work, {"train": Part(rows, np.zeros(len(rows[name]), np.int64))})


def _graph(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def test_what_pytorch_exports_goes_through_unchanged(tmp_path, capsys, cnn):
    folder = onnx_models.project(tmp_path / "p", cnn, lines='schemes = ["given-onnx"]')
    code, document = _build(folder, capsys)
    assert code == 0
    (made,) = document["bundles"]
    with Path(made["path"]).open("rb") as file, bundles.read(file) as bundle:
        manifest = bundle.manifest
    assert manifest.artifact.size == (folder / "given.onnx").stat().st_size
    assert (manifest.inputs[0].shape, manifest.outputs[0].shape) == ((-1, 1, 8, 8), (-1, 10))
    assert {"ai.onnx.Conv", "ai.onnx.Gemm"} <= set(manifest.provenance["ops"])
    assert document["research_metric"] > 0.9
    images, classes = onnx_models.digits()
    with load(Path(made["path"])) as model:
        answered = [one["label"] for one in model.run({"image": images[-50:]})]
    assert np.mean(answered == classes[-50:]) > 0.9


def test_open_dimensions_are_fixed_to_the_rows(tmp_path, capsys):
    folder = onnx_models.project(tmp_path / "p", onnx_models.cnn(side="side"), lines='schemes = ["given-onnx"]')
    code, document = _build(folder, capsys)
    assert code == 0
    with Path(document["bundles"][0]["path"]).open("rb") as file, bundles.read(file) as bundle:
        manifest = bundle.manifest
    assert manifest.inputs[0].shape == (-1, 1, 8, 8)
    assert manifest.provenance["options"]["fixed_dimensions"] == {"image": [-1, 1, 8, 8]}
    assert manifest.provenance["options"]["opsets"] == {"ai.onnx": 21}


def test_a_batch_of_one_is_run_row_by_row(tmp_path):
    path = tmp_path / "one.onnx"
    path.write_bytes(onnx_models.cnn(batch=1).SerializeToString())
    work = Work("", "onnx", "classification", "given", given=str(path), input_names=("image",))
    images, _ = onnx_models.digits()
    answers = frontend.make(work, {"train": Part({"image": images[:5]}, np.zeros(5, np.int64))})
    assert answers["train"].shape == (5, 10)


@pytest.mark.parametrize(
    ("batch", "shape", "said"),
    [
        (4, (3, 1, 8, 8), "takes 4 rows at a time"),
        ("batch", (3, 1, 8, 9), "the recipe's rows are"),
        ("batch", (3, 64), "the recipe's rows are"),
    ],
)
def test_shapes_that_no_row_fits_are_named(tmp_path, batch, shape, said):
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_models.cnn(batch=batch).SerializeToString())
    with pytest.raises(RecipeError, match=said):
        _given(path, shape)


def test_the_label_is_left_out_where_scores_stand_beside_it(tmp_path, cnn):
    model = _copy(cnn)
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    model.graph.output.append(_value("label", TensorProto.INT64, ["batch"]))
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    given = _given(path)
    assert [value.name for value in given.model.graph.output] == ["scores"]
    assert given.options == {"outputs_left_out": ["label"]}


def test_of_several_outputs_the_recipe_says_which_is_the_answer(tmp_path, capsys, cnn):
    model = _copy(cnn)
    model.graph.output.insert(0, _value("logits", TensorProto.FLOAT, ["batch", 10]))
    ends = 'schemes = ["given-onnx"]'
    code, lines = _build(onnx_models.project(tmp_path / "p", model, lines=ends), capsys)
    assert code == 2
    assert lines[-1].endswith('has the outputs logits, scores; say which is the answer: answer = ["scores"]')
    folder = onnx_models.project(tmp_path / "q", model, lines=f'answer = ["scores"]\n{ends}')
    code, document = _build(folder, capsys)
    assert code == 0, document
    with Path(document["bundles"][0]["path"]).open("rb") as file, bundles.read(file) as bundle:
        outputs = {one.name: one.meaning for one in bundle.manifest.outputs}
    assert outputs == {"logits": "", "scores": "probabilities"}
    folder = onnx_models.project(tmp_path / "r", model, lines=f'answer = ["score"]\n{ends}')
    code, lines = _build(folder, capsys)
    assert code == 2
    assert "output 'score' is not in the model, which has logits, scores" in lines[-1]


def test_one_probability_of_two_classes_is_read_as_a_classifier(tmp_path, capsys):
    images, classes = onnx_models.digits()
    even = LogisticRegression(max_iter=300).fit(images[:900].reshape(900, -1), classes[:900] % 2)
    weights = [
        numpy_helper.from_array(np.float32(even.coef_), "w"),
        numpy_helper.from_array(np.float32(even.intercept_), "b"),
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["logit"], transB=1),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
    ]
    image, p = _value("image", TensorProto.FLOAT, ["n", 1, 8, 8]), _value("p", TensorProto.FLOAT, ["n", 1])
    folder = onnx_models.project(tmp_path / "p", _graph(nodes, [image], [p], weights), lines='schemes = ["given-onnx"]')
    np.savez(folder / "rows.npz", image=images[900:], label=np.where(classes[900:] % 2, "odd", "even"))
    text = (folder / "recipe.toml").read_text()
    labels = text[text.index("labels = ") : text.index("prefer")]
    (folder / "recipe.toml").write_text(text.replace(labels, 'labels = ["even", "odd"]\n'))
    code, document = _build(folder, capsys)
    assert code == 0, document
    assert document["research_metric"] > 0.8
    with load(Path(document["bundles"][0]["path"])) as model:
        answered = [one["name"] for one in model.run({"image": images[900:950]})]
    assert np.mean(np.array(answered) == np.where(classes[900:950] % 2, "odd", "even")) > 0.8


def test_a_stream_needs_a_file_with_state(tmp_path, cnn):
    path = tmp_path / "m.onnx"
    path.write_bytes(cnn.SerializeToString())
    work = Work("", "onnx", "classification", "g", given=str(path), input_names=("image",), stream="last")
    with pytest.raises(RecipeError, match="keeps no state between readings"):
        frontend.make(work, {"train": Part({"image": np.zeros((2, 1, 8, 8))}, np.zeros(2))})


def test_zipmap_and_texts_are_refused_with_the_remedy(tmp_path):
    from skl2onnx import to_onnx

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3)).astype(np.float32)
    model = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "high", "low"))
    zipmap = tmp_path / "zipmap.onnx"
    zipmap.write_bytes(to_onnx(model, rows[:1]).SerializeToString())
    with pytest.raises(RecipeError, match="sequence_type; export it with zipmap off"):
        _given(zipmap, (2, 3), name="X")
    texts = to_onnx(model, rows[:1], options={"zipmap": False})
    del texts.graph.output[1:]
    (tmp_path / "texts.onnx").write_bytes(texts.SerializeToString())
    with pytest.raises(RecipeError, match="'label' gives texts"):
        _given(tmp_path / "texts.onnx", (2, 3), name="X")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_one_line(tmp_path, capsys, cnn, share):
    raw = cnn.SerializeToString()
    folder = onnx_models.project(tmp_path / "p", raw[: int(len(raw) * share)])
    code, lines = _build(folder, capsys)
    assert code == 2
    assert len([line for line in lines if line.startswith("sprat:")]) == 1
    assert "not an .onnx" in lines[-1]


def test_random_bytes_never_do_more_than_refuse(tmp_path, cnn):
    rng = np.random.default_rng(1)
    raw = cnn.SerializeToString()
    path = tmp_path / "bad.onnx"
    said = []
    for trial in range(60):
        bad = np.frombuffer(rng.bytes(2000) if trial % 2 else raw, np.uint8).copy()
        if trial % 2 == 0:
            bad[rng.integers(0, 1200, 8)] ^= rng.integers(1, 256, 8).astype(np.uint8)
        path.write_bytes(bad.tobytes())
        try:
            onnx_file.read(path)
        except RecipeError as exc:
            said.append(str(exc))
    assert len(said) > 40
    assert not any("\n" in sentence for sentence in said)


def test_deep_nesting_is_refused(tmp_path, cnn):
    # Protobuf by hand: model.graph is field 7, graph.node 1, node.attribute 5, attribute.g 6.
    inner = b""
    for field in [6, 5, 1] * 200:
        inner = bytes([field << 3 | 2]) + _varint(len(inner)) + inner
    (tmp_path / "deep.onnx").write_bytes(cnn.SerializeToString() + bytes([7 << 3 | 2]) + _varint(len(inner)) + inner)
    with pytest.raises(RecipeError, match=r"not an \.onnx"):
        onnx_file.read(tmp_path / "deep.onnx")


def _varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def test_a_graph_that_would_take_all_memory_is_one_line(tmp_path):
    x, y = _value("image", TensorProto.FLOAT, ["n", 4]), _value("y", TensorProto.FLOAT, ["n", 4])
    path = tmp_path / "m.onnx"
    shape = numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "shape")
    huge = [
        helper.make_node("ConstantOfShape", ["shape"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0),
        helper.make_node("Add", ["image", "s"], ["y"]),
    ]
    path.write_bytes(_graph(huge, [x], [y], [shape]).SerializeToString())
    with pytest.raises(RecipeError, match="cannot run it on the recipe's rows"):
        _given(path, (2, 4))
    claimed = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**9, 10**9], raw_data=b"0" * 16)
    path.write_bytes(_graph([helper.make_node("Gemm", ["image", "w"], ["y"])], [x], [y], [claimed]).SerializeToString())
    with pytest.raises(RecipeError, match="breaks a rule of ONNX"):
        _given(path, (2, 4))


def test_inspect_says_which_file_it_could_not_read(tmp_path, capsys, cnn):
    path = tmp_path / "cut.onnx"
    path.write_bytes(cnn.SerializeToString()[:300])
    assert cli.main(["inspect", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sprat: {path}: not a readable .onnx")


def _external(folder, cnn, location):
    model = _copy(cnn)
    tensor = next(t for t in model.graph.initializer if t.name == "fc.weight")
    (folder / "weights.bin").write_bytes(numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "link.bin", ""])
def test_weights_outside_the_folder_are_never_read(tmp_path, cnn, location):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 20_000)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(RecipeError, match="outside the model's own folder"):
        onnx_file.read(_external(folder, cnn, location))


def test_weights_beside_the_file_are_taken_in(tmp_path, cnn):
    path = _external(tmp_path, cnn, "weights.bin")
    given = _given(path)
    assert given.options["weights_taken_in"] is True
    plain = {t.name: numpy_helper.to_array(t) for t in cnn.graph.initializer}
    whole = onnx.load_from_string(given.dump(path))
    assert all(np.array_equal(numpy_helper.to_array(t), plain[t.name]) for t in whole.graph.initializer)
    work = Work("", "onnx", "classification", "given", given=str(path), input_names=("image",))
    before = frontend.source_digest(work)
    raw = bytearray((tmp_path / "weights.bin").read_bytes())
    raw[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(bytes(raw))
    assert frontend.source_digest(work) != before
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(RecipeError, match="not beside it"):
        _given(path)


def test_other_weights_beside_the_same_file_are_another_build(tmp_path, capsys, cnn, monkeypatch):
    monkeypatch.setenv("SPRAT_CACHE_DIR", str(tmp_path / "cache"))
    folder = onnx_models.project(tmp_path / "p", cnn, lines='schemes = ["given-onnx"]')
    (folder / "net").mkdir()
    _external(folder / "net", cnn, "weights.bin").rename(folder / "net" / "given.onnx")
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("given.onnx", "net/given.onnx"))
    code, first = _build(folder, capsys)
    assert code == 0
    weights = folder / "net" / "weights.bin"
    weights.write_bytes((np.frombuffer(weights.read_bytes(), np.float32) * np.float32(0.9)).tobytes())
    code, second = _build(folder, capsys)
    assert code == 0
    assert first["facts"]["files"] == second["facts"]["files"]  # no code changed
    for key in ("recipe_sha256", "source_sha256"):
        assert first["facts"][key] != second["facts"][key]
    assert first["bundles"][0]["sha256"] != second["bundles"][0]["sha256"]


def test_functions_of_the_file_s_own_are_written_out(tmp_path):
    body = [helper.make_node("Mul", ["x", "x"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    square = helper.make_function("pkg.torch", "square", ["x"], ["y"], body, [helper.make_opsetid("", 21)])
    x, y = _value("image", TensorProto.FLOAT, ["n", 4]), _value("y", TensorProto.FLOAT, ["n", 4])
    model = _graph([helper.make_node("square", ["image"], ["y"], domain="pkg.torch")], [x], [y])
    model.functions.append(square)
    model.opset_import.append(helper.make_opsetid("pkg.torch", 1))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    given = _given(tmp_path / "m.onnx", (2, 4))
    assert given.options == {"functions_inlined": 1}
    assert {node.op_type for node in given.model.graph.node} == {"Mul", "Relu"}


def test_what_no_runtime_knows_is_named(tmp_path):
    x, y = _value("image", TensorProto.FLOAT, ["n", 4]), _value("y", TensorProto.FLOAT, ["n", 4])
    path = tmp_path / "m.onnx"
    custom = _graph([helper.make_node("Spin", ["image"], ["y"], domain="my.ops")], [x], [y])
    custom.opset_import.append(helper.make_opsetid("my.ops", 1))
    newer = _graph([helper.make_node("Relu", ["image"], ["y"])], [x], [y])
    newer.opset_import[0].version = 999
    format_ = _graph([helper.make_node("Relu", ["image"], ["y"])], [x], [y])
    format_.ir_version = 999
    unknown = _graph([helper.make_node("Reluu", ["image"], ["y"])], [x], [y])
    for model, said in (
        (custom, "'Spin' of the domain 'my.ops'"),
        (newer, "opset 999, known are 7 to"),
        (format_, "file format 999"),
        (unknown, "No Op registered for Reluu"),
    ):
        path.write_bytes(model.SerializeToString())
        with pytest.raises(RecipeError, match=said):
            _given(path, (2, 4))


def test_inputs_of_other_names_are_named(tmp_path, cnn):
    path = tmp_path / "m.onnx"
    path.write_bytes(cnn.SerializeToString())
    with pytest.raises(RecipeError, match=r"its inputs are image, the recipe's reading; name the tables"):
        _given(path, name="reading")


MAGIKA = """\
schema = "sprat.recipe/1"
model = "magika"
task = "classification"
metric = "accuracy"
labels = [{labels}]
schemes = ["given-onnx"]

[data]
file = "rows.npz"
[data.split]
method = "random"
train = 0.3
calibration = 0.2
validation = 0.2
test = 0.3

[train]
framework = "onnx"
given = "model.onnx"

[inputs.bytes]
"""


@pytest.mark.slow
def test_magika_from_its_wheel_passes_the_same_gates(tmp_path, capsys):
    spec = importlib.util.find_spec("magika")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).with_name("models") / "standard_v3_3"
    shutil.copy(source / "model.onnx", tmp_path)
    names = json.loads((source / "config.min.json").read_text())["target_labels_space"]
    here = Path(np.__file__).parent
    files = {
        "python": sorted(here.glob("*.py")),
        "c": sorted((here / "_core" / "include" / "numpy").glob("*.h")),
        "rst": sorted((Path(sklearn.__file__).parent / "datasets" / "descr").glob("*.rst")),
    }
    found = [(_features(path.read_bytes()), kind) for kind, paths in files.items() for path in paths]
    rows, labels = zip(*found, strict=True)
    np.savez(tmp_path / "rows.npz", bytes=np.array(rows), label=np.array(labels))
    (tmp_path / "recipe.toml").write_text(MAGIKA.format(labels=", ".join(json.dumps(name) for name in names)))
    code, document = _build(tmp_path, capsys)
    assert code == 0, document
    assert document["research_metric"] == 1.0
    with Path(document["bundles"][0]["path"]).open("rb") as file, bundles.read(file) as bundle:
        manifest = bundle.manifest
    assert (manifest.inputs[0].dtype, manifest.inputs[0].shape) == ("int32", (-1, 2048))
    assert manifest.outputs[0].shape == (-1, 214)
    assert manifest.artifact.sha256 == hashlib.sha256((source / "model.onnx").read_bytes()).hexdigest()


def _features(content: bytes) -> np.ndarray:
    """Return the first and the last 1,024 bytes without the white space around them, 256 where there is none."""
    begin, end = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    return np.array([*begin, *[256] * (1024 - len(begin)), *[256] * (1024 - len(end)), *end], np.int32)
