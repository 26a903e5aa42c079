"""A feature in a wrong unit is refused by its own range, beside features of any other size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.device.inference.bundles import INPUT, manifest, raw_tensor

from sprat_device.contract import manifest as manifests
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.explaining import explain
from sprat_device.inference.tensors import InputSlot

ROOM = TensorSpec(
    "room", "float32", (-1, 2), minimum=19.0, maximum=102_000.0, features=("temperature", "pressure"),
    minimums=(19.0, 98_000.0), maximums=(23.0, 102_000.0),
)  # fmt: skip
"""A room's temperature in °C beside the pressure in Pa."""
WINDOW = replace(ROOM, shape=(-1, 40, 2))


def slot(spec: TensorSpec) -> InputSlot:
    return InputSlot(spec, raw_tensor(spec))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_a_small_feature_in_a_wrong_unit_is_refused_beside_a_large_one(dtype: str) -> None:
    scale = 0.1 if dtype == "float16" else 1.0  # 65,504 is the most that it holds
    spec = replace(ROOM, minimums=(19.0, 98_000.0 * scale), maximums=(23.0, 102_000.0 * scale), dtype=dtype)
    for celsius in (21, 30, 8):
        assert slot(spec).reason(np.array([celsius, 100_000 * scale], dtype)) is None
    for fahrenheit in (70, -8):
        assert slot(spec).reason(np.array([fahrenheit, 100_000 * scale], dtype)) is Reason.INPUT_RANGE
    assert slot(replace(spec, minimums=(), maximums=())).reason(np.array([70, 1000], dtype)) is None


def test_one_value_of_a_window_is_enough() -> None:
    window = np.tile(np.array([21.0, 100_000.0], np.float32), (40, 1))
    assert slot(WINDOW).reason(window) is None
    for place, value in ((0, 70.0), (0, -70.0), (1, 1000.0)):
        wrong = window.copy()
        wrong[17, place] = value
        assert slot(WINDOW).reason(wrong) is Reason.INPUT_RANGE
    similar = replace(WINDOW, minimum=-20.0, maximum=30.0, minimums=(-20.0, -1.0), maximums=(30.0, 1.0))
    calm = np.zeros((40, 2), np.float32)
    assert slot(similar).reason(calm) is None
    for wanted, value in ((None, 3.5), (None, 6.9), (Reason.INPUT_RANGE, 7.1), (Reason.INPUT_RANGE, -7.1)):
        calm[3, 1] = value
        assert slot(similar).reason(calm) is wanted
    assert slot(similar).reason(np.tile(np.array([60.0, 0.0], np.float32), (40, 1))) is None


def test_a_window_too_long_to_repeat_the_limits_is_checked_as_well() -> None:
    long = replace(ROOM, shape=(-1, 40_000, 2))
    window = np.tile(np.array([21.0, 100_000.0], np.float32), (40_000, 1))
    assert slot(long).reason(window) is None
    window[39_999, 0] = 70.0
    assert slot(long).reason(window) is Reason.INPUT_RANGE


@pytest.mark.parametrize("spec", [ROOM, WINDOW])
def test_what_is_no_number_keeps_its_reason(spec: TensorSpec) -> None:
    reading = np.broadcast_to(np.array([21.0, 100_000.0], np.float32), spec.shape[1:]).copy()
    filling = replace(spec, missing_allowed=True)
    for odd, allowed in ((np.nan, None), (np.inf, Reason.INPUT_NON_FINITE), (-np.inf, Reason.INPUT_NON_FINITE)):
        reading[..., 1] = odd
        assert slot(spec).reason(reading) is Reason.INPUT_NON_FINITE
        assert slot(filling).reason(reading) is allowed
    reading[...] = (70.0, np.nan)
    assert slot(filling).reason(reading) is Reason.INPUT_RANGE
    reading[...] = np.nan
    assert slot(filling).reason(reading) is None


def test_a_feature_of_one_value_has_the_range_of_the_tensor() -> None:
    spec = replace(ROOM, minimums=(20.0, 98_000.0), maximums=(20.0, 102_000.0))
    assert slot(spec).reason(np.array([70.0, 100_000.0])) is None
    assert slot(spec).reason(np.array([-200_000.0, 100_000.0])) is Reason.INPUT_RANGE
    unknown = replace(spec, minimum=0.0, maximum=0.0)
    assert slot(unknown).reason(np.array([-200_000.0, 100_000.0])) is None
    for beyond in (np.inf, 1e300):
        assert slot(unknown).reason(np.array([beyond, 100_000.0])) is not None


def test_the_range_of_the_tensor_holds_beside_those_of_its_features() -> None:
    """One width of the tensor is less than three of its largest feature."""
    wide = np.array([21.0, 98_000.0 + 120_000.0])
    spec = replace(ROOM, minimums=(19.0, 19.0))
    assert slot(spec).reason(wide) is Reason.INPUT_RANGE
    assert slot(replace(spec, minimum=0.0, maximum=0.0)).reason(wide) is None


def test_codes_are_asked_as_well() -> None:
    spec = replace(ROOM, codes=((), (1.0, 7.0)), minimums=(19.0, 0.0), maximums=(23.0, 0.0))
    assert slot(spec).reason(np.array([21.0, 7.0])) is None
    assert slot(spec).reason(np.array([21.0, 5.0])) is Reason.INPUT_RANGE
    assert slot(spec).reason(np.array([70.0, 7.0])) is Reason.INPUT_RANGE


def test_ranges_as_wide_as_a_dtype_let_in_what_it_holds() -> None:
    most = float(np.finfo(np.float64).max)
    spec = replace(ROOM, dtype="float64", minimum=0.0, maximum=0.0, minimums=(-most, 0.0), maximums=(most, 1.0))
    assert slot(spec).reason(np.array([1e308, 0.5])) is None
    assert slot(spec).reason(np.array([np.inf, 0.5])) is Reason.INPUT_NON_FINITE


def test_the_explanation_names_the_feature_that_is_furthest_outside() -> None:
    row = {"room": np.array([70.0, 100_000.0])}
    assert explain(ROOM, row, ()) == (
        "input 'room': found float64 [2] from 70 to 100000, 'temperature' 70, "
        "expected finite float32 [2], about 19 to 102000, 'temperature' about 19 to 23"
    )
    window = np.tile(np.array([66.0, 100_000.0]), (40, 1))
    window[3] = (75.0, 1000.0)
    named = explain(replace(WINDOW, features=()), {"room": window}, ())
    assert "column 1 from 1000 to 100000, expected" in named
    window[:, 1] = np.nan
    assert "'temperature' from 66 to 75, expected" in explain(WINDOW, {"room": window}, ())
    for fit in (np.array([21.0, 100_000.0]), np.array([21.0]), np.array(70.0), np.array(["a", "b"]), np.zeros((0, 2))):
        assert "'temperature'" not in explain(ROOM, {"room": fit}, ())


def test_a_manifest_without_such_ranges_keeps_its_bytes() -> None:
    document = json.loads(manifest(inputs=(INPUT,)).dump())
    assert not {"minimums", "maximums"} & {key for spec in document["inputs"] + document["outputs"] for key in spec}
    own = manifest(inputs=(ROOM,))
    assert manifests.parse(own.dump()).inputs == (ROOM,)
    assert own.input_sig == manifest(inputs=(replace(ROOM, minimums=(), maximums=()),)).input_sig
