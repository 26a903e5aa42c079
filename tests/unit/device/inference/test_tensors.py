"""Inputs are checked before they are run, and tensors are quantized by the manifest's facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.unit.device.inference.bundles import INPUT, raw_tensor

from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.tensors import InputSlot, match, values

INT8 = TensorSpec("q", "int8", (1, 4), scale=0.5, zero_point=-10)


def test_quantizing_rounds_shifts_and_saturates() -> None:
    slot = InputSlot(INT8, raw_tensor(INT8))
    tensor = slot.tensor(np.array([[0.0, 1.2, -1e6, 1e6]], np.float32))
    assert tensor.dtype == np.int8
    assert tensor.tolist() == [[-10, -8, -128, 127]]


def test_dequantizing_gives_the_value_back_within_half_a_step() -> None:
    slot = InputSlot(INT8, raw_tensor(INT8))
    wanted = np.linspace(-50, 60, 4, dtype=np.float32)[None]
    assert np.abs(values(INT8)(slot.tensor(wanted)) - wanted).max() <= 0.25


def test_a_plain_input_keeps_its_dtype() -> None:
    spec = replace(INPUT, dtype="float64")
    assert InputSlot(spec, raw_tensor(spec)).tensor(np.ones((1, 3), np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (np.array([0.0, 5.0, 10.0], np.float32), None),
        (np.array([0.0, 5.0, 10.0], np.float64), None),
        (np.array([0, 5, 10]), None),
        (np.array([-9.0, 19.0, 0.0]), None),
        (None, Reason.INPUT_MISSING),
        (np.zeros(2, np.float32), Reason.INPUT_SHAPE),
        (np.zeros((1, 3), np.float32), Reason.INPUT_SHAPE),
        (np.array(["a", "b", "c"]), Reason.INPUT_DTYPE),
        (np.array([None, 1.0, 2.0]), Reason.INPUT_DTYPE),
        (np.array([1j, 1j, 1j]), Reason.INPUT_DTYPE),
        (np.array([0.0, np.nan, 1.0], np.float32), Reason.INPUT_NON_FINITE),
        (np.array([0.0, -np.inf, 1.0], np.float32), Reason.INPUT_NON_FINITE),
        (np.array([0.0, 1.0, 1000.0], np.float32), Reason.INPUT_RANGE),
        (np.array([0.0, 1.0, -11.0], np.float32), Reason.INPUT_RANGE),
    ],
)
def test_a_reading_is_fit_or_has_a_reason(reading: npt.NDArray[Any] | None, reason: Reason | None) -> None:
    assert InputSlot(INPUT, raw_tensor(INPUT)).reason(reading) is reason


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (np.array([np.nan, 5.0, 10.0]), None),
        (np.array([np.nan, np.nan, np.nan]), None),
        (np.array([np.nan, np.inf, 1.0]), Reason.INPUT_NON_FINITE),
        (np.array([np.nan, 1000.0, 1.0]), Reason.INPUT_RANGE),
    ],
)
def test_a_missing_value_is_fit_only_where_the_model_fills_it(reading: npt.NDArray[Any], reason: Reason | None) -> None:
    filling = replace(INPUT, missing_allowed=True)
    assert InputSlot(filling, raw_tensor(filling)).reason(reading) is reason
    assert InputSlot(INPUT, raw_tensor(INPUT)).reason(reading) is Reason.INPUT_NON_FINITE


def test_a_text_that_the_data_did_not_have_is_out_of_range() -> None:
    spec = TensorSpec("x", "string", (-1, 2), categories=(("red", "blue"), ("on", "off")))
    slot = InputSlot(spec, raw_tensor(spec))
    assert slot.reason(np.array(["blue", "on"])) is None
    assert slot.reason(np.array(["on", "blue"])) is Reason.INPUT_RANGE
    assert slot.reason(np.array(["blue", "On"])) is Reason.INPUT_RANGE
    assert slot.reason(np.array([1.0, 2.0])) is Reason.INPUT_DTYPE


def test_a_code_that_the_data_did_not_have_is_out_of_range() -> None:
    spec = TensorSpec("x", "float32", (-1, 2), minimum=0.0, maximum=9.0, codes=((), (0.1, 2.0)), missing_allowed=True)
    slot = InputSlot(spec, raw_tensor(spec))
    for known in (0.1, 2.0, np.nan):
        assert slot.reason(np.array([3.7, known], np.float32)) is None
    assert slot.reason(np.array([3.7, 0.1])) is None  # a float64 that becomes the same float32
    for odd in (1.0, 2.5, 3.0):
        assert slot.reason(np.array([3.7, odd])) is Reason.INPUT_RANGE
    window = TensorSpec("x", "float64", (-1, 3, 2), codes=((), (0.0, 1.0)))
    slot = InputSlot(window, raw_tensor(window))
    assert slot.reason(np.array([[5.0, 0.0], [6.0, 1.0], [7.0, 1.0]])) is None
    assert slot.reason(np.array([[5.0, 0.0], [6.0, 2.0], [7.0, 1.0]])) is Reason.INPUT_RANGE
    assert slot.reason(np.array([[5.0, 0.0], [6.0, np.nan], [7.0, 1.0]])) is Reason.INPUT_NON_FINITE


def test_without_a_known_range_only_what_the_dtype_holds_is_let_in() -> None:
    spec = replace(INPUT, minimum=0.0, maximum=0.0)
    slot = InputSlot(spec, raw_tensor(spec))
    assert slot.reason(np.array([1e30, 0.0, 0.0])) is None
    assert slot.reason(np.array([1e300, 0.0, 0.0])) is Reason.INPUT_RANGE


def test_integers_never_lose_their_upper_bits() -> None:
    spec = TensorSpec("x", "int8", (1, 1))
    slot = InputSlot(spec, raw_tensor(spec))
    assert slot.reason(np.array([3], np.int8)) is None
    assert slot.reason(np.array([300], np.int64)) is Reason.INPUT_DTYPE
    assert slot.reason(np.array([1.5])) is Reason.INPUT_DTYPE


def test_texts_and_numbers_are_not_mixed() -> None:
    spec = TensorSpec("x", "string", (-1, 1))
    slot = InputSlot(spec, raw_tensor(spec))
    assert slot.reason(np.array(["red"])) is None
    assert slot.reason(np.array([1.0])) is Reason.INPUT_DTYPE


def test_tensors_are_found_by_their_own_name_or_the_signatures() -> None:
    own = replace(raw_tensor(INPUT), name="serving_default_x:0", alias="x")
    assert match((INPUT,), (own,)) == (own,)
    assert match((replace(INPUT, name=own.name),), (own,)) == (own,)


@pytest.mark.parametrize(
    "changed",
    [{"name": "z"}, {"dtype": "int8"}, {"shape": (1, 4)}, {"shape": (1, 3, 1)}, {"scale": 0.1}],
)
def test_an_artifact_that_is_not_what_the_manifest_says_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused) as caught:
        match((INPUT,), (replace(raw_tensor(INPUT), **changed),))
    assert caught.value.reason is Reason.MANIFEST_MISMATCH


def test_an_open_dimension_fits_any() -> None:
    tensor = replace(raw_tensor(INPUT), shape=(-1, 3))
    assert match((INPUT,), (tensor,)) == (tensor,)


def test_another_zero_point_of_a_quantized_tensor_is_refused() -> None:
    with pytest.raises(BundleRefused, match="quantized by"):
        match((INT8,), (replace(raw_tensor(INT8), zero_point=0),))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_every_step_has_its_value(dtype: str) -> None:
    spec = TensorSpec("q", dtype, (1, 256), scale=0.25, zero_point=3)
    steps = np.arange(256, dtype=np.uint8).view("int8" if dtype == "int8" else np.uint8).astype(dtype)
    assert np.array_equal(values(spec)(steps), (steps.astype(np.float64) - 3) * 0.25)
