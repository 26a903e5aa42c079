from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sprat.compiler import bundling, reference
from sprat.compiler.bundling import Contents
from sprat.compiler.golden import golden_inputs, tolerance
from sprat.compiler.ingest import ingest
from sprat.compiler.lowering import Lowering
from sprat.compiler.spec import recipe
from sprat.compiler.tensor_specs import input_specs
from sprat.compiler.workers.work import TensorFacts
from sprat.errors import RecipeError
from sprat_device.contract import bundle as bundles
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Format, Task

TEXT = (Path(__file__).parents[3] / "models" / "occupancy" / "recipe.toml").read_text()
RECIPE = recipe.parse(TEXT, name="r.toml")


def _table(rows=300):
    rng = np.random.default_rng(1)
    table = {name: rng.normal(20, 3, rows) for name in ("temperature", "humidity", "co2", "hour")}
    return table | {"occupied": np.arange(rows) % 2}


def test_features_are_stacked_in_the_recipes_order():
    found = ingest(_table(), RECIPE)
    train = found.parts["train"]
    assert train.inputs["reading"].shape == (len(train.labels), 4)
    assert train.inputs["reading"].dtype == np.float64
    low, high = found.ranges["reading"]
    assert low == train.inputs["reading"].min()
    assert high == train.inputs["reading"].max()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("co2"), "line 31: column 'co2' is missing"),
        (lambda t: t.pop("occupied"), "column 'occupied' is missing"),
        (lambda t: t.update(co2=np.array(["x"] * 300)), "holds text such as 'x'"),
        (lambda t: t.update(co2=np.array(["3", "?", "four"] * 100)), "holds text such as 'four' (row 2)"),
        (lambda t: t["co2"].__setitem__(0, np.nan), "1 missing or infinite values"),
        (lambda t: t.update(co2=np.zeros((300, 2))), "expected one number a row"),
        (lambda t: t.update(occupied=np.full(300, 2)), "expected 0 to 1"),
    ],
)
def test_a_table_that_does_not_fit_the_recipe_says_which_column(change, said):
    table = _table()
    change(table)
    with pytest.raises(RecipeError) as caught:
        ingest(table, RECIPE)
    assert said.replace("line 31", f"line {1 + TEXT[: TEXT.index('features =')].count(chr(10))}") in str(caught.value)


def test_data_outside_the_range_that_the_recipe_states_is_refused():
    narrow = recipe.parse(TEXT, overrides=("inputs.reading.minimum=0", "inputs.reading.maximum=5"))
    with pytest.raises(RecipeError, match="the recipe says 0 to 5"):
        ingest(_table(), narrow)


SCORES = TensorFacts("p", "float32", (-1, 2))


def _lowering(path, *, output=SCORES, scheme="float64-onnx"):
    path.write_bytes(b"artifact")
    return Lowering(
        scheme, Format.ONNX, path, 8, "c7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c",
        (TensorFacts("reading", "float64", (-1, 4)),), (output,), {}, (),
    )  # fmt: skip


def test_a_written_bundle_reads_back(tmp_path):
    found = ingest(_table(), RECIPE)
    lowering = _lowering(tmp_path / "m.onnx")
    inputs = lowering.readings(golden_inputs(found.parts["validation"], RECIPE, found))
    research = np.eye(2)[found.parts["train"].labels]
    contents = Contents(
        GoldenSet(inputs, {}), reference.baseline(found.parts["train"], research, RECIPE), {"onnx": "1.0"}
    )
    path = tmp_path / "x.sprat"
    bundling.write(path, lowering, RECIPE, found, target="pi-4", contents=contents)
    with path.open("rb") as file, bundles.read(file) as bundle:
        assert bundle.manifest.inputs[0].features == ("temperature", "humidity", "co2", "hour")
        assert bundle.golden().inputs["reading"].shape == (32, 4)
        baseline = bundle.baseline()
        assert set(baseline.edges) == {"temperature", "humidity", "co2", "hour"}
        assert baseline.class_counts.sum() == baseline.counts["co2"].sum() == len(research)
        assert bundle.manifest.outputs[0].meaning == "probabilities"


def test_synthetic_golden_inputs_hold_no_real_row():
    synthetic = recipe.parse(TEXT, overrides=("golden.inputs=synthetic",))
    found = ingest(_table(), synthetic)
    rows = golden_inputs(found.parts["validation"], synthetic, found)["reading"]
    real = {row.tobytes() for part in found.parts.values() for row in part.inputs["reading"]}
    assert rows.shape == (32, 4)
    assert not real & {row.tobytes() for row in rows}
    assert np.array_equal(rows, golden_inputs(found.parts["validation"], synthetic, found)["reading"])


def test_quantized_outputs_are_compared_in_steps_and_dequantized_by_their_facts(tmp_path):
    quantized = _lowering(tmp_path / "m", output=TensorFacts("p", "int8", (1, 2), 1 / 256, -128), scheme="int8-full")
    raw = {"p": np.array([[-128, 127]], np.int8)}
    assert quantized.answers(raw).tolist() == [[0.0, 255 / 256]]
    assert tolerance(quantized, quantized.answers(raw)).kind == "lsb"
    plain = _lowering(tmp_path / "m")
    assert tolerance(plain, np.array([[500.0]])).value == pytest.approx(0.05)


def test_readings_have_the_dtype_that_a_device_is_fed(tmp_path):
    found = _lowering(tmp_path / "m").readings({"reading": np.zeros((2, 4), np.int16)})
    assert found["reading"].dtype == np.float64


def test_each_feature_has_the_range_of_its_own_training_rows(tmp_path):
    table = _table() | {"co2": np.random.default_rng(2).normal(100_000, 500, 300), "humidity": np.full(300, 40.0)}
    table["temperature"][:5] = np.nan
    asked = recipe.parse(TEXT, overrides=('inputs.reading.missing="keep"', 'inputs.reading.codes=["hour"]'))
    found = ingest(table | {"hour": np.arange(300) % 7}, asked, stop=False)
    train = found.parts["train"].inputs["reading"]
    (spec,) = input_specs(_lowering(tmp_path / "m"), asked, found)
    assert spec.minimums == (np.nanmin(train[:, 0]), 40.0, train[:, 2].min(), 0.0)
    assert spec.maximums == (np.nanmax(train[:, 0]), 40.0, train[:, 2].max(), 0.0)
    nothing = ingest(table | {"temperature": np.full(300, np.nan)}, asked, stop=False)
    assert input_specs(_lowering(tmp_path / "m"), asked, nothing)[0].maximums[0] == 0.0


def test_a_range_that_the_recipe_states_is_the_only_one(tmp_path):
    stated = recipe.parse(TEXT, overrides=("inputs.reading.minimum=-100", "inputs.reading.maximum=1000"))
    (spec,) = input_specs(_lowering(tmp_path / "m"), stated, ingest(_table(), stated))
    assert (spec.minimum, spec.maximum, spec.minimums) == (-100, 1000, ())


def test_a_feature_has_the_range_that_the_recipe_states_for_it(tmp_path):
    stated = recipe.parse(TEXT, overrides=("inputs.reading.ranges={temperature=[-40, 600]}",))
    found = ingest(_table(), stated)
    (spec,) = input_specs(_lowering(tmp_path / "m"), stated, found)
    train = found.parts["train"].inputs["reading"]
    assert spec.minimums == (-40, *train[:, 1:].min(axis=0))
    assert spec.maximums == (600, *train[:, 1:].max(axis=0))
    assert (spec.minimum, spec.maximum) == (-40, 600), "what one feature may be, the whole input may be"
    only = recipe.parse(
        TEXT, overrides=("inputs.reading.maximum=1000", "inputs.reading.ranges={temperature=[-40, 600]}")
    )
    assert ingest(_table(), only).feature_ranges["reading"] == ((-40, 0, 0, 0), (600, 0, 0, 0))
    with pytest.raises(RecipeError, match=r"'temperature' goes from .* to .* in the data, the recipe says 0 to 5"):
        ingest(_table(), recipe.parse(TEXT, overrides=("inputs.reading.ranges={temperature=[0, 5]}",)))


@pytest.mark.parametrize("ranges", ["[5, 5]", "[5]", "[0, true]", '["a", "b"]', "[-inf, 5]", "5"])
def test_what_is_no_range_is_an_error_of_the_recipe(ranges):
    with pytest.raises(RecipeError, match="temperature"):
        recipe.parse(TEXT, overrides=(f"inputs.reading.ranges={{temperature={ranges}}}",))


@pytest.mark.parametrize(
    "more",
    [
        ("inputs.reading.ranges={day=[0, 5]}",),
        ("inputs.reading.ranges={hour=[0, 24]}", 'inputs.reading.codes=["hour"]'),
    ],
)
def test_only_features_of_numbers_have_ranges(more):
    with pytest.raises(RecipeError, match="some of the input's features, of numbers and no codes"):
        recipe.parse(TEXT, overrides=more)


def test_what_a_detector_is_there_to_tell_is_not_refused():
    detector = replace(RECIPE, task=Task.ANOMALY, labels=("empty", "occupied"))
    assert ingest(_table(), detector).feature_ranges["reading"] == ((), ())
    asked = replace(detector.inputs[0], ranges={"co2": (0.0, 5000.0)})
    found = ingest(_table(), replace(detector, inputs=(asked,)))
    assert found.feature_ranges["reading"] == ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 5000.0, 0.0))


def test_made_rows_lie_within_the_range_of_each_feature():
    synthetic = recipe.parse(TEXT, overrides=("golden.inputs=synthetic",))
    found = ingest(_table() | {"co2": np.random.default_rng(2).normal(100_000, 500, 300)}, synthetic)
    rows = golden_inputs(found.parts["validation"], synthetic, found)["reading"]
    low, high = found.feature_ranges["reading"]
    assert (rows >= low).all()
    assert (rows <= high).all()


CODES = ('inputs.reading.codes=["hour"]', "golden.inputs=synthetic")


def _coded(rows=300):
    return _table(rows) | {"hour": np.random.default_rng(2).choice([0.5, 6.0, 12.0], rows)}


def test_codes_are_what_the_data_has_and_a_made_row_has_no_other(tmp_path):
    asked = recipe.parse(TEXT, overrides=CODES)
    found = ingest(_coded(), asked)
    (spec,) = input_specs(_lowering(tmp_path / "m"), asked, found)
    assert spec.codes == ((), (), (), (0.5, 6.0, 12.0))
    made = golden_inputs(found.parts["validation"], asked, found)["reading"]
    assert set(made[:, 3]) == {0.5, 6.0, 12.0}
    assert len(set(made[:, 0])) == len(made)
    anything = recipe.parse(TEXT, overrides=(*CODES, "inputs.reading.unknown=allow"))
    assert input_specs(_lowering(tmp_path / "m"), anything, found)[0].codes == ()


def test_what_takes_thousands_of_values_is_no_code():
    with pytest.raises(RecipeError, match="feature 'hour' has 1200 different values, codes are at most 1000"):
        ingest(_table(1200), recipe.parse(TEXT, overrides=CODES))
    with pytest.raises(RecipeError, match="some of the input's features"):
        recipe.parse(TEXT, overrides=('inputs.reading.codes=["day"]',))
