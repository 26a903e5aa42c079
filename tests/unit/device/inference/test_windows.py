"""Windows of samples: whatever the blocks in which they come, every row stands where it belongs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.device.inference.bundles import manifest

from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.sources.fitting import fit
from sprat_device.inference.sources.intake import Intake
from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.reading import Numbers
from sprat_device.inference.windows import Grid, Windows, spread


@given(
    length=st.integers(1, 12),
    hop=st.integers(1, 20),
    blocks=st.lists(st.integers(1, 15), max_size=25),
)
def test_windows_are_those_of_the_whole_series_however_it_is_cut(length: int, hop: int, blocks: list[int]) -> None:
    total = sum(blocks)
    series = np.arange(2 * total, dtype=np.float32).reshape(total, 2)
    windows = Windows(length, hop, (2,), np.float32)
    found, place = [], 0
    for block in blocks:
        upto = place + block
        found += list(windows.push(series[place:upto], np.arange(place, upto, dtype=np.float64)))
        place = upto
    starts = range(0, total - length + 1, hop)
    assert [window.rows.tolist() for window in found] == [series[s : s + length].tolist() for s in starts]
    assert [window.at_s for window in found] == [start + length - 1 for start in starts]


@given(hop=st.integers(1, 9), before=st.integers(0, 30), after=st.integers(0, 30))
def test_no_window_spans_a_gap(hop: int, before: int, after: int) -> None:
    windows = Windows(5, hop, (), np.int32)
    first = list(windows.push(np.zeros(before, np.int32), np.arange(before, dtype=float)))
    windows.begin()
    second = list(windows.push(np.ones(after, np.int32), np.arange(after, dtype=float)))
    assert all(not window.rows.any() for window in first)
    assert all(window.rows.all() for window in second)
    assert [window.begins for window in second] == [place == 0 for place in range(len(second))]


@given(
    rate_hz=st.sampled_from([0.5, 1.0, 10.0, 50.0, 333.0]),
    steps=st.lists(st.floats(0.0001, 0.9), min_size=1, max_size=60),
    start=st.floats(0, 1e6),
)
def test_a_straight_line_stays_one_on_any_grid(rate_hz: float, steps: list[float], start: float) -> None:
    times = start + np.cumsum(steps)
    grid = Grid(rate_hz, max_gap_s=1.0)
    rows, at = [], []
    for time in times:
        made, made_at = grid.push(np.array([time - start, 5.0]), float(time))
        assert len(made) <= rate_hz + 1
        rows += made.tolist()
        at += made_at.tolist()
    assert at[0] == times[0]
    assert len(at) == int(np.floor((times[-1] - times[0]) * rate_hz + 1e-9)) + 1
    np.testing.assert_allclose(np.diff(at), 1 / rate_hz, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.array(rows)[:, 0], np.array(at) - start, atol=1e-6)
    np.testing.assert_allclose(np.array(rows)[:, 1], 5.0)


def test_a_grid_begins_anew_after_a_gap_and_when_time_goes_back() -> None:
    grid = Grid(10, max_gap_s=1.0)
    grid.push(np.array([1.0]), 0.0)
    assert grid.broken_by(1.5)
    rows, times = grid.push(np.array([2.0]), 1.5)
    assert (rows.tolist(), times.tolist()) == ([[2.0]], [1.5])
    rows, times = grid.push(np.array([3.0]), 0.2)
    assert (rows.tolist(), times.tolist()) == ([[3.0]], [0.2])
    # The same time again adds nothing, and a NaN stays one.
    assert grid.push(np.array([9.0]), 0.2)[0].tolist() == []
    assert np.isnan(grid.push(np.array([np.nan]), 0.4)[0]).all()


def test_the_rows_of_a_block_are_spread_over_the_time_since_the_last_one() -> None:
    assert spread(4, 1.0, 2.0).tolist() == [1.25, 1.5, 1.75, 2.0]
    assert spread(2, 3.0, 3.0).tolist() == [3.0, 3.0]


# Through an intake


class Items:
    """A feed of a list."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    def take(self, timeout_s: float) -> Item | None:
        return self.items.pop(0) if self.items else None

    def close(self) -> None:
        pass


WINDOWED = manifest(inputs=(TensorSpec("w", "float32", (1, 3, 2)),))
DECLARED = replace(
    WINDOWED,
    preprocess={
        "w": ({"step": "window", "rows": 3, "hop": 1, "rate_hz": 10.0, "resample": True, "channels": ["ax", "ay"]},)
    },
)


def settings(**given: Any) -> InputSettings:
    return replace(InputSettings("tiny", "stdin"), **given)


def line(text: str, at_s: float, **more: Any) -> Item:
    return Item(round(at_s * 1e6), round(at_s * 1e6), text.encode(), **more)


def windows_of(items: list[Item], described: Any = WINDOWED, **given: Any) -> list[Any]:
    source = Intake(Items(items), fit(settings(**given), described), Numbers())
    found = []
    while source._feed.items or source._ready:  # type: ignore[attr-defined]
        if (reading := source.read(1)) is not None:
            found.append(reading)
    return found


def sample(n: int) -> str:
    return f'{{"ay": {n + 0.5}, "ax": {n}}}'


def test_single_samples_become_windows_with_the_time_of_their_last_one() -> None:
    found = windows_of(
        [line(sample(n), n / 10) for n in range(6)], window=3, hop=2, channels=("ax", "ay"), model="tiny"
    )
    assert [reading.inputs["w"].tolist() for reading in found] == [
        [[0, 0.5], [1, 1.5], [2, 2.5]],
        [[2, 2.5], [3, 3.5], [4, 4.5]],
    ]
    assert [(reading.index, reading.mono_us) for reading in found] == [(0, 200_000), (1, 400_000)]
    assert found[0].inputs["w"].dtype == np.float32


def test_the_bundle_declares_its_windows_and_the_samples_own_times_are_used() -> None:
    # Every second sample is missing, but the grid has them.
    items = [line(f'{{"t": {n / 5}, "ax": {n}, "ay": 0}}', 100 + n) for n in range(4)]
    found = windows_of(items, DECLARED, time_field="t")
    assert [reading.inputs["w"][:, 0].tolist() for reading in found] == [
        pytest.approx([n / 2, n / 2 + 0.5, n / 2 + 1]) for n in range(5)
    ]
    # By the sensor's clock the window before the last ended 0.1 s before the last sample came.
    assert [reading.mono_us for reading in found[-2:]] == [102_900_000, 103_000_000]


def test_a_sensor_whose_clock_is_set_by_years_between_two_blocks_tells_no_time_before_the_machine_began() -> None:
    # Rows of a block are spread over the time since the one before: here over 54 years, as its clock comes from 1970.
    items = [line(f'{{"t": {own}, "w": [[1, 2], [1, 2]]}}', at) for own, at in ((5, 60), (1.7e9, 61))]
    found = windows_of(items, window=3, hop=1, time_field="t")
    assert [(reading.mono_us, reading.wall_us) for reading in found] == [(0, 0), (61_000_000, 61_000_000)]


def test_a_gap_a_break_and_a_bad_sample() -> None:
    items = [line(sample(n), n / 10) for n in range(2)]
    items += [line(sample(n), 9 + n / 10) for n in range(2, 5)]  # a gap of nine seconds
    items += [line("garbage", 9.45), line('{"ax": 1}', 9.46), line("[1, 2, 3]", 9.47)]
    items += [line(sample(5), 9.5), line(sample(6), 9.6, begins=True)]
    found = windows_of(items, window=3, hop=1, channels=("ax", "ay"), max_gap_s=1.0)
    good = [reading for reading in found if reading.fault is None]
    assert [(reading.inputs["w"][0, 0], reading.begins) for reading in good] == [(2, True), (3, False)]
    assert [reading.fault.reason for reading in found if reading.fault] == [
        Reason.INPUT_UNREADABLE,
        Reason.INPUT_MISSING,
        Reason.INPUT_SHAPE,
    ]


def test_a_raw_record_may_hold_several_rows() -> None:
    mono = manifest(inputs=(TensorSpec("w", "int16", (1, 4)),))
    fitted = fit(settings(format="raw", shape=(6,), window=4, hop=4), mono)
    assert fitted.record is not None
    assert fitted.record.size == 12
    blocks = [Item(n, n, np.arange(6 * n, 6 * n + 6, dtype=np.int16).tobytes()) for n in range(2)]
    source = Intake(Items(blocks), fitted, Numbers())
    found = [source.read(1) for _ in range(3)]
    assert [reading.inputs["w"].tolist() for reading in found if reading] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_fractions_are_not_cut_off_for_a_model_of_whole_numbers() -> None:
    whole = manifest(inputs=(TensorSpec("w", "int16", (1, 2, 2)),))
    found = windows_of([line("[1, 2]", 0), line("[1.5, 2]", 1), line("[3, 4]", 2)], whole, window=2)
    assert found[0].fault.reason is Reason.INPUT_DTYPE
    assert found[1].inputs["w"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"window": 4}, r"windows of \[4, 2\], the model's input 'w' is \[3, 2\]"),
        ({"window": 3, "channels": ("ax", "ay", "az")}, r"windows of \[3, 3\]"),
    ],
)
def test_windows_that_the_model_does_not_take_are_refused(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongUse, match=said):
        fit(settings(**given_), WINDOWED)


def test_another_rate_than_that_of_the_training_data_is_refused() -> None:
    with pytest.raises(WrongUse, match="resample_hz 20, the model was trained with 10"):
        fit(settings(resample_hz=20.0), DECLARED)
