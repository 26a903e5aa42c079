"""Declared pre-processing: each step by hand or by its rule, and what is refused."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.device.inference.bundles import DIGEST, INPUT, manifest, session
from tests.unit.device.inference.test_loop import ORIGIN, Rig

from sprat_device.contract import manifest as manifests
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.phases import Reason
from sprat_device.contract.preprocess import STEPS, StepFailed, read
from sprat_device.inference.preparing import preparing
from sprat_device.inference.shadowing.program import _reply
from sprat_device.inference.sources.reading import Reading

Array = npt.NDArray[Any]


def run(array: Any, *steps: dict[str, Any]) -> Array:
    return read(steps, "preprocess.x").run(np.asarray(array))


def step(name: str, **parameters: Any) -> dict[str, Any]:
    return {"step": name, **parameters}


def test_an_image_is_halved_by_the_mean_of_four_and_doubled_by_neighbours() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    half = step("resize", height=2, width=2)
    assert run(image, half).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    # As bytes, as whole numbers of a document or as floats: the model sees the same.
    assert run(image, half).tobytes() == run(image.tolist(), half).tobytes() == run(image / 1.0, half).tobytes()
    whole = run(image, half, step("round"))
    assert (whole.dtype, whole.tolist()) == (np.uint8, [[2, 4], [10, 12]])  # each half to even
    assert run([-1.0, 300, 127.4], step("round", dtype="int8")).tolist() == [-1, 127, 127]
    double = run([[1, 2]], step("resize", height=2, width=4, method="nearest"))
    assert double.tolist() == [[1, 1, 2, 2]] * 2


@given(
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    target=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    method=st.sampled_from(["nearest", "bilinear"]),
)
def test_resizing_invents_no_value_and_keeps_what_is_even(
    source: tuple[int, int], target: tuple[int, int], method: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*source, 3)).astype(np.uint8)
    one = read([step("resize", height=target[0], width=target[1], method=method)], "x")
    found = one.run(image)
    assert found.shape == (*target, 3)
    assert image.min() - 1e-3 <= found.min() <= found.max() <= image.max() + 1e-3
    np.testing.assert_allclose(one.run(np.full((*source, 3), 77, np.uint8)), 77, rtol=1e-6)
    assert (
        read([step("resize", height=source[0], width=source[1], method=method)], "x").run(image).tolist()
        == image.tolist()
    )


def test_crop_gray_and_the_order_of_channels() -> None:
    image = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    assert run(image, step("centre-crop", height=3, width=2)).tolist() == image[1:4, 1:3].tolist()
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(run(red, step("gray")), np.full((2, 2, 1), 59.8), rtol=1e-6)
    assert run(red[..., 0], step("gray")).shape == (2, 2, 1)
    assert run(red, step("reverse-channels"))[..., 2].tolist() == [[200, 200]] * 2
    assert run(image, step("channels-first")).shape == (3, 5, 4)


def test_numbers_are_scaled_for_all_or_for_each_channel() -> None:
    assert run([0, 128, 255], step("scale", scale=2, offset=-1)).tolist() == [-1, 255, 509]
    rows = np.array([[1, 10], [3, 30]])
    found = run(rows, step("normalise", mean=[2, 20], std=[1, 10]))
    assert found.tolist() == [[-1, -1], [1, 1]]
    assert found.dtype == np.float32
    assert run(rows, step("remove-mean")).tolist() == [[-1, -10], [1, 10]]


@given(
    rows=st.integers(1, 40),
    slope=st.floats(-50, 50),
    level=st.floats(-1000, 1000),
)
def test_a_straight_line_is_taken_away_whole_and_nothing_else(rows: int, slope: float, level: float) -> None:
    place = np.arange(rows)
    swing = np.sin(place)
    swing -= np.polyval(np.polyfit(place, swing, 1), place) if rows > 1 else swing
    signal = np.stack([level + slope * place, level + slope * place + swing], axis=1)
    found = run(signal, step("detrend"))
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], swing, atol=1e-3)


@pytest.mark.parametrize(
    ("steps", "reason", "said"),
    [
        ([step("fft")], Reason.UNKNOWN_STEP, r"preprocess.x\[0\]: step 'fft' is not known here"),
        ([step("gray", gamma=2)], Reason.UNKNOWN_STEP, "step gray has no parameter 'gamma' here"),
        ([step("gray"), step("window", rows=3)], Reason.BAD_BUNDLE, "windows are made first"),
        ([step("resize", height=0, width=3)], Reason.BAD_BUNDLE, "an integer from 1 to 16384"),
        ([step("resize", height=3, width=3, method="cubic")], Reason.BAD_BUNDLE, "expected nearest or bilinear"),
        ([step("normalise", std=[1, 0])], Reason.BAD_BUNDLE, "std must be above zero"),
        ([step("scale", scale=[1, 1e300])], Reason.BAD_BUNDLE, "no float32 holds"),
        ([step("round", dtype="float16")], Reason.BAD_BUNDLE, "expected one of uint8, int8, int16"),
        ([step("scale", scale="2")], Reason.BAD_BUNDLE, "a finite number"),
        ([step("window", rows=3, resample=True)], Reason.BAD_BUNDLE, "rate_hz above zero"),
    ],
)
def test_a_step_that_is_not_known_or_makes_no_sense_refuses_the_bundle(
    steps: list[dict[str, Any]], reason: Reason, said: str
) -> None:
    with pytest.raises(BundleRefused, match=said) as refused:
        read(steps, "preprocess.x")
    assert refused.value.reason is reason
    with pytest.raises(BundleRefused):
        session(described=replace(manifest(), preprocess={"x": tuple(steps)}))


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("odd", [np.zeros((2, 0, 3)), np.array(1.0), np.array(["a", "b"]), np.zeros((1, 1, 1, 1))])
def test_whatever_comes_is_taken_or_named_by_its_step(name: str, odd: Array) -> None:
    sized = {"resize", "centre-crop"}
    made = read([step(name, **({"height": 2, "width": 2} if name in sized else {}))], "x")
    said = name
    try:
        made.run(odd)
    except StepFailed as exc:
        said = str(exc)
    assert said.startswith(name)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
WORDS = (
    "height",
    "width",
    "method",
    "scale",
    "offset",
    "mean",
    "std",
    "rows",
    "hop",
    "rate_hz",
    "resample",
    "channels",
)


@given(
    name=st.sampled_from(["window", *STEPS]) | ANY,
    parameters=st.dictionaries(st.sampled_from(WORDS), ANY, max_size=4),
)
def test_any_parameters_are_a_step_or_a_refusal(name: Any, parameters: dict[str, Any]) -> None:
    made = None
    with contextlib.suppress(BundleRefused):
        made = read([{"step": name, **parameters}], "x")
    assert made is None or bool(made.steps) != bool(made.window)


def test_too_many_channels_are_named() -> None:
    with pytest.raises(StepFailed, match="normalise: an array of shape 4 x 2"):
        run(np.zeros((4, 2)), step("normalise", mean=[1, 2, 3]))
    with pytest.raises(StepFailed, match="scale: an array of shape 1 has another number of channels"):
        run(np.zeros(1), step("scale", scale=[1, 2, 3]))


def test_a_loop_feeds_the_model_what_the_steps_make_and_tells_what_they_cannot_take() -> None:
    seen: list[Any] = []

    def keep(inputs: Any) -> Any:
        seen.append(inputs["x"][0].tolist())
        return {"y": inputs["x"]}

    rig = Rig([[1, 2, 3], [4, 5, 6]])
    scaled = replace(manifest(), preprocess={"x": (step("scale", scale=[1, 0.5, 0.1]),)})
    rig.loop.swap(session(keep, scaled), ORIGIN)
    rig.run(2)
    assert seen == [pytest.approx([1, 1, 0.3]), pytest.approx([4, 2.5, 0.6])]
    wrong = replace(manifest(inputs=(replace(INPUT, shape=(1, 3)),)), preprocess={"x": (step("channels-first"),)})
    again = Rig([[1, 2, 3]])
    again.loop.swap(session(described=wrong), ORIGIN)
    again.run(1)
    ((code, detail, bundle),) = again.records.events
    assert (code, bundle) == (Reason.INPUT_SHAPE, DIGEST)
    assert detail["detail"] == "channels-first: an array of shape 3, expected height x width x channels"


def test_a_shadow_prepares_what_came_by_its_own_steps() -> None:
    doubled = session(described=replace(manifest(), preprocess={"x": (step("scale", scale=2),)}))
    said = _reply(doubled, {"x": np.array([1, 2, 3], np.float32)})
    assert np.frombuffer(said["outputs"], "<f4").tolist() == [2, 4, 6]  # type: ignore[call-overload]
    wrong = session(described=replace(manifest(), preprocess={"x": (step("channels-first"),)}))
    assert _reply(wrong, {"x": np.array([1, 2, 3], np.float32)})["reason"] == Reason.INPUT_SHAPE


def test_the_reading_keeps_what_came() -> None:
    prepare = preparing(replace(manifest(), preprocess={"x": (step("scale", scale=2),)}))
    assert prepare is not None
    came = Reading(0, 0, 0, {"x": np.array([1, 2, 3])})
    made = prepare(came)
    assert made.raw is made.came is came.came is came.inputs
    assert made.inputs["x"].tolist() == [2, 4, 6]
    assert preparing(manifest()) is None
    assert preparing(replace(manifest(), preprocess={"x": (step("window", rows=3),)})) is None


def test_a_manifest_without_steps_keeps_its_bytes_and_one_with_them_its_steps() -> None:
    plain = manifest()
    assert b"preprocess" not in plain.dump()
    steps = {"x": (step("scale", scale=2), step("of-tomorrow", more=[1, {"a": None}]))}
    told = replace(plain, preprocess=steps)
    assert manifests.parse(told.dump()).preprocess == steps
    assert manifests.parse(told.dump()).dump() == told.dump()
    assert told.input_sig != plain.input_sig
