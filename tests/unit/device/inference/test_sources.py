"""Sources: their pace, their index, and what they make of input that is none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import manifest

from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.inference.sources import open_source
from sprat_device.inference.sources.folder import Folder
from sprat_device.inference.sources.lines import Lines
from sprat_device.inference.sources.reading import as_declared, parsed
from sprat_device.inference.sources.replay import Replay, load

WANTED = {"x": np.dtype(np.float32)}
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def replay(clock: ManualClock, *, rate_hz: float = 0.0, loop: bool = False) -> Replay:
    return Replay({"x": ROWS}, clock, rate_hz=rate_hz, loop=loop, sleep=clock.advance)


def test_a_replay_ends_or_begins_again_with_a_running_index() -> None:
    clock = ManualClock()
    once = replay(clock)
    assert [getattr(once.read(1.0), "index", None) for _ in range(3)] == [0, 1, None]
    again = replay(clock, loop=True)
    readings = [again.read(1.0) for _ in range(5)]
    assert [reading.index for reading in readings if reading] == [0, 1, 2, 3, 4]
    assert readings[4] is not None
    assert readings[4].inputs["x"].tolist() == ROWS[0].tolist()


def test_a_replay_keeps_its_rate_and_never_waits_longer_than_asked() -> None:
    clock = ManualClock()
    source = replay(clock, rate_hz=4, loop=True)
    begun = clock.monotonic_us()
    read = [source.read(0.1) for _ in range(40)]
    times = [reading.mono_us - begun for reading in read if reading]
    assert times == [250_000 * place for place in range(len(times))]
    assert clock.monotonic_us() - begun <= 4_000_000


def test_after_a_long_halt_a_replay_makes_up_for_a_second_at_most() -> None:
    clock = ManualClock()
    source = replay(clock, rate_hz=10, loop=True)
    source.read(1.0)
    clock.advance(3600)
    resumed = clock.monotonic_us()
    caught_up = 0
    while (reading := source.read(0.01)) is not None:
        assert reading.mono_us == resumed
        caught_up += 1
    assert 9 <= caught_up <= 12


def test_recorded_rows_are_read_by_input_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS.astype(np.float64), labels=np.array([1, 2]))
    np.save(tmp_path / "a.npy", ROWS)
    for name in ("a.npz", "a.npy"):
        arrays = load(tmp_path / name, WANTED)
        assert arrays.keys() == {"x"}
        assert arrays["x"].dtype == np.float32


@pytest.mark.parametrize("bad", ["absent", "text", "other", "pickle", "uneven"])
def test_a_file_that_cannot_be_replayed_is_named(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "a.npz"
    wanted = dict(WANTED)
    match bad:
        case "text":
            path.write_text("no arrays")
        case "other":
            np.savez(path, z=ROWS)
        case "pickle":
            np.savez(path, x=np.array([{}], dtype=object))
        case "uneven":
            np.savez(path, x=ROWS, z=ROWS[:1])
            wanted["z"] = np.dtype(np.float32)
    with pytest.raises(WrongUse, match=r"a\.npz"):
        load(path, wanted)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_lines_come_whole_and_a_broken_one_is_a_reading_without_inputs(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = Lines(reader, ManualClock(), WANTED)
    assert source.read(0) is None
    os.write(writer, b'{"x": [1, 2')
    assert source.read(0) is None
    os.write(writer, b', 3]}\n\n[4, 5, 6]\nnot json\n{"x": [[1], [2, 3]]}\n{"x": [1, NaN, 2]}\n')
    readings = [source.read(0) for _ in range(5)]
    assert [reading.index for reading in readings if reading] == [0, 1, 2, 3, 4]
    found = [reading.inputs["x"].tolist() if "x" in reading.inputs else None for reading in readings if reading]
    assert found[:4] == [[1, 2, 3], [4, 5, 6], None, None]
    assert np.isnan(found[4][1])


def test_null_is_a_missing_number_and_other_things_are_left_for_the_check_to_name() -> None:
    plain = parsed({"x": [1, None, 2.5]}, WANTED)["x"]
    assert plain.dtype == WANTED["x"]
    assert np.isnan(plain[1])
    for odd in (["a", None, 1], [True, None, 1], [[1], None, 2]):
        found = parsed({"x": odd}, WANTED)
        assert "x" not in found or found["x"].dtype == object


def test_an_endless_line_is_one_bad_reading_and_what_follows_is_read(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sprat_device.inference.sources.lines._MOST_BYTES", 100)
    reader, writer = pipe
    source = Lines(reader, ManualClock(), WANTED)
    for _ in range(5):
        os.write(writer, b"1" * 90)
        assert source.read(0) is None
    os.write(writer, b"\n[1, 2, 3]\n")
    first, second = source.read(0), source.read(0)
    assert first is not None
    assert first.inputs == {}
    assert second is not None
    assert second.inputs["x"].tolist() == [1, 2, 3]


def test_the_last_line_needs_no_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[1, 2, 3]")
    os.close(writer)
    source = Lines(reader, ManualClock(), WANTED)
    assert source.read(0) is not None
    assert source.read(0) is None
    os.close(reader)


def test_a_folder_gives_each_finished_file_once_in_the_order_of_coming(tmp_path: Path) -> None:
    source = Folder(tmp_path, ManualClock(), WANTED, sleep=lambda _seconds: None)
    assert source.read(1) is None
    np.save(tmp_path / "b.npy", ROWS[0])
    (tmp_path / "c.json.part").write_text("[1")
    (tmp_path / ".hidden.json").write_text("[1")
    first = source.read(0)
    assert first is not None
    assert first.inputs["x"].tolist() == ROWS[0].tolist()
    (tmp_path / "a.json").write_text(json.dumps({"x": [7, 8, 9]}))
    second = source.read(0)
    assert second is not None
    assert (second.index, second.inputs["x"].tolist()) == (1, [7, 8, 9])
    (tmp_path / "bad.json").write_text("{")
    third = source.read(0)
    assert third is not None
    assert third.inputs == {}
    assert source.read(0) is None


def test_numbers_are_made_the_declared_dtype_only_without_loss() -> None:
    small = np.dtype(np.int8)
    assert as_declared([1, 2], small).dtype == small  # type: ignore[union-attr]
    assert as_declared([1, 300], small).dtype != small  # type: ignore[union-attr]
    assert as_declared([1.5], small).dtype.kind == "f"  # type: ignore[union-attr]
    assert as_declared([[1], [2, 3]], small) is None
    assert as_declared([1e300], np.dtype(np.float32)).tolist() == [np.inf]  # type: ignore[union-attr]


def test_the_settings_choose_the_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS)
    clock = ManualClock()
    opened = open_source(InputSettings("tiny", "replay", str(tmp_path / "a.npz")), manifest(), clock)
    assert isinstance(opened, Replay)
    assert isinstance(open_source(InputSettings("tiny", "folder", str(tmp_path)), manifest(), clock), Folder)
    with pytest.raises(WrongUse, match="no such folder"):
        open_source(InputSettings("tiny", "folder", str(tmp_path / "absent")), manifest(), clock)
