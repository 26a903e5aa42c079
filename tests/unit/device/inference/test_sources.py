"""Sources: their pace, their number, and what they make of input that is none."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import INPUT, manifest

from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.inference.sources import open_inlet
from sprat_device.inference.sources.descriptor import Descriptor
from sprat_device.inference.sources.fitting import fit
from sprat_device.inference.sources.folder import Folder
from sprat_device.inference.sources.inlet import Inlet
from sprat_device.inference.sources.intake import Intake
from sprat_device.inference.sources.item import Feed, Item
from sprat_device.inference.sources.pixels import as_image
from sprat_device.inference.sources.place import Place
from sprat_device.inference.sources.reading import Numbers, Reading, Source, as_declared, parsed
from sprat_device.inference.sources.replay import Replay, load
from sprat_device.inference.sources.serial import open_line
from sprat_device.inference.sources.splitting import Lines, Records
from sprat_device.inference.sources.tail import Tail
from sprat_device.inference.sources.taken import Taken
from sprat_device.inference.sources.waiting import Waiting

WANTED = {"x": np.dtype(np.float32)}
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
NOWHERE = Place(None, "")


def settings(**given: Any) -> InputSettings:
    return replace(InputSettings("tiny", "stdin"), **given)


def intake(feed: Feed, described: Manifest | None = None, **given: Any) -> Intake:
    return Intake(feed, fit(settings(**given), described or manifest()), Numbers())


def take(source: Source, count: int) -> list[Reading]:
    found = [source.read(0) for _ in range(count)]
    assert None not in found
    return [reading for reading in found if reading is not None]


def x(reading: Reading) -> Any:
    return reading.inputs["x"].tolist() if "x" in reading.inputs else reading.fault


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


def test_lines_come_whole_and_a_broken_one_is_a_fault_with_its_beginning(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = intake(Descriptor(reader, ManualClock(), Lines()))
    assert source.read(0) is None
    os.write(writer, b'{"x": [1, 2')
    assert source.read(0) is None
    os.write(writer, b', 3]}\n\n[4, 5, 6]\nnot json\n{"x": [[1], [2, 3]]}\n{"x": [1, NaN, 2]}\n')
    readings = take(source, 5)
    assert [reading.index for reading in readings] == [0, 1, 2, 3, 4]
    assert [x(reading) for reading in readings[:2]] == [[1, 2, 3], [4, 5, 6]]
    fault = readings[2].fault
    assert fault is not None
    assert (fault.reason, fault.detail) == (Reason.INPUT_UNREADABLE, "not JSON: 'not json'")
    assert (readings[3].inputs, readings[3].fault) == ({}, None)  # the check names what is missing
    assert np.isnan(readings[4].inputs["x"][1])


def test_a_source_is_read_where_a_thousand_descriptors_are_open(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this machine lets a process have fewer than 2048 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    high = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 1500)
    try:
        source = intake(Descriptor(high, ManualClock(), Lines()))
        assert source.read(0) is None
        os.write(writer, b"[1, 2, 3]\n")
        assert x(take(source, 1)[0]) == [1, 2, 3]
    finally:
        os.close(high)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_line_may_name_the_features_and_one_that_is_missing_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = intake(Descriptor(reader, ManualClock(), Lines()))
    os.write(writer, b'{"b": 2, "a": 1, "c": 3, "more": 4}\n{"a": 1, "b": 2}\n{"a": 1, "b": null, "c": 3}\n')
    named, missing, null = take(source, 3)
    assert x(named) == [1, 2, 3]
    assert missing.fault is not None
    assert (missing.fault.reason, missing.fault.detail) == (Reason.INPUT_MISSING, "'c' is missing")
    assert np.isnan(null.inputs["x"][1])


def test_a_missing_feature_is_no_fault_where_the_model_fills_it(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    filling = manifest(inputs=(replace(INPUT, missing_allowed=True),))
    os.write(writer, b'{"a": 1, "b": 2}\n')
    (reading,) = take(intake(Descriptor(reader, ManualClock(), Lines()), filling), 1)
    assert np.isnan(reading.inputs["x"][2])


def test_cells_are_read_in_order_or_by_a_header(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = intake(Descriptor(reader, ManualClock(), Lines()), format="csv")
    os.write(writer, b"1,2, 3\nc,extra,a,b\n3,9,1,2\n1,2\n1,2,x,4\n,9,1,2\n")
    plain, named = source.read(0), source.read(0)  # the header between them is no reading
    short, text, empty = take(source, 3)
    assert plain is not None
    assert named is None
    assert x(plain) == [1, 2, 3]
    assert x(short) == [1, 2, 3]
    assert text.fault is not None
    assert text.fault.detail.startswith("2 cells, expected 4")
    assert empty.fault is not None
    assert empty.fault.detail == "'x' is no number"
    (gap,) = take(source, 1)
    assert np.isnan(gap.inputs["x"][2])


def test_records_have_the_models_dtype_and_shape_or_those_of_the_settings(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    own = fit(settings(format="raw"), manifest())
    assert own.record is not None
    assert own.record.size == 12
    source = intake(Descriptor(reader, ManualClock(), Records(12)), format="raw")
    os.write(writer, ROWS.tobytes()[:20])
    assert x(take(source, 1)[0]) == ROWS[0].tolist()
    assert source.read(0) is None
    os.write(writer, ROWS.tobytes()[20:])
    assert x(take(source, 1)[0]) == ROWS[1].tolist()
    small = fit(settings(format="raw", dtype="int16", shape=(3,)), manifest())
    assert small.record is not None
    assert small.record.size == 6


def test_a_frame_of_a_camera_has_the_size_of_its_pixels() -> None:
    described = manifest(inputs=(TensorSpec("x", "uint8", (1, 4, 6, 3)),))
    for pixels, size in (("rgb24", 72), ("bgr24", 72), ("gray8", 24), ("yuv420", 36)):
        record = fit(settings(format="raw", pixels=pixels, width=6, height=4), described).record
        assert record is not None
        assert record.size == size
        assert record.array(bytes(size)).shape == ((4, 6) if pixels == "gray8" else (4, 6, 3))


def test_the_colours_of_a_camera_are_those_of_bt_601() -> None:
    rng = np.random.default_rng(4)
    luma, u, v = (rng.integers(0, 256, shape).astype(np.uint8) for shape in ((4, 6), (2, 3), (2, 3)))
    luma[0, 0], u[0, 0], v[0, 0] = 76, 85, 255  # pure red, as JFIF writes it
    image = as_image(luma.tobytes() + u.tobytes() + v.tobytes(), "yuv420", 6, 4)
    assert image[0, 0].tolist() == [254, 0, 0]
    for row in range(4):
        for column in range(6):
            y, cb, cr = (
                float(plane) for plane in (luma[row, column], u[row // 2, column // 2], v[row // 2, column // 2])
            )
            exact = (
                y + 1.402 * (cr - 128),
                y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
                y + 1.772 * (cb - 128),
            )
            assert image[row, column].tolist() == [round(min(255.0, max(0.0, value))) for value in exact]
    assert as_image(bytes([1, 2, 3]), "bgr24", 1, 1).tolist() == [[[3, 2, 1]]]


def test_null_is_a_missing_number_and_other_things_are_left_for_the_check_to_name() -> None:
    plain = parsed({"x": [1, None, 2.5]}, WANTED)["x"]
    assert plain.dtype == WANTED["x"]
    assert np.isnan(plain[1])
    for odd in (["a", None, 1], [True, None, 1], [[1], None, 2]):
        found = parsed({"x": odd}, WANTED)
        assert "x" not in found or found["x"].dtype == object


def test_an_endless_line_is_one_bad_reading_and_what_follows_is_read(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = intake(Descriptor(reader, ManualClock(), Lines(100)))
    for _ in range(5):
        os.write(writer, b"1" * 90)
        assert source.read(0) is None
    os.write(writer, b"\n[1, 2, 3]\n")
    first, second = take(source, 2)
    assert first.fault is not None
    assert first.fault.detail.startswith("a line longer")
    assert x(second) == [1, 2, 3]


def test_the_last_line_needs_no_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[1, 2, 3]")
    os.close(writer)
    source = intake(Descriptor(reader, ManualClock(), Lines()))
    assert source.read(0) is not None
    assert source.read(0) is None
    os.close(reader)


def test_with_newest_what_waits_is_passed_over(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = intake(Descriptor(reader, ManualClock(), Lines(), newest=True))
    os.write(writer, b"[1, 2, 3]\n[4, 5, 6]\n[7, 8, 9]\n[1")
    assert x(take(source, 1)[0]) == [7, 8, 9]
    os.write(writer, b", 1, 1]\n")
    assert x(take(source, 1)[0]) == [1, 1, 1]


def folder(path: Path, state: Path | None = None, of: str = "it") -> Intake:
    feed = Folder(path, ManualClock(), Taken(state, of), sleep=lambda _seconds: None)
    return intake(feed, kind="folder")


def test_a_file_that_comes_within_a_coarse_tick_of_the_folders_time_is_found(tmp_path: Path) -> None:
    clock = ManualClock()
    source = intake(Folder(tmp_path, clock, Taken(None, ""), sleep=lambda _seconds: None), kind="folder")
    (tmp_path / "a.json").write_text("[1, 1, 1]")
    os.utime(tmp_path, (1_700_000_000, 1_700_000_000))
    assert x(take(source, 1)[0]) == [1, 1, 1]
    assert [source.read(0) for _ in range(3)] == [None] * 3
    # As on FAT, whose times are of two seconds: the folder's shows nothing of the second file.
    (tmp_path / "b.json").write_text("[2, 2, 2]")
    os.utime(tmp_path, (1_700_000_000, 1_700_000_000))
    clock.advance(3)
    assert x(take(source, 1)[0]) == [2, 2, 2]


def test_a_folder_gives_each_finished_file_once_in_the_order_of_coming(tmp_path: Path) -> None:
    source = folder(tmp_path)
    assert source.read(1) is None
    np.save(tmp_path / "b.npy", ROWS[0])
    (tmp_path / "c.json.part").write_text("[1")
    (tmp_path / ".hidden.json").write_text("[1")
    first = source.read(0)
    assert first is not None
    assert x(first) == ROWS[0].tolist()
    (tmp_path / "a.json").write_text(json.dumps({"x": [7, 8, 9]}))
    second = source.read(0)
    assert second is not None
    assert (second.index, x(second)) == (1, [7, 8, 9])
    (tmp_path / "bad.json").write_text("{")
    third = source.read(0)
    assert third is not None
    assert third.fault is not None
    assert source.read(0) is None


def test_a_folder_goes_on_where_it_was_left(tmp_path: Path) -> None:
    files, state = tmp_path / "in", tmp_path / "state" / "taken"
    files.mkdir()
    for name in "abc":
        np.save(files / f"{name}.npy", ROWS[0])
    first = folder(files, state)
    take(first, 2)
    first.close()
    again = folder(files, state)
    assert len(take(again, 1)) == 1
    assert again.read(0) is None
    again.close()
    # One that is put there anew is another.
    np.save(tmp_path / "a.npy", ROWS[1])
    (tmp_path / "a.npy").replace(files / "a.npy")
    third = folder(files, state)
    assert [x(reading) for reading in take(third, 1)] == [ROWS[1].tolist()]
    assert third.read(0) is None
    third.close()
    # A torn journal costs the torn entry; another folder of the same input is read from its beginning.
    state.write_bytes(state.read_bytes()[:-3])
    torn = folder(files, state)
    take(torn, 1)
    assert torn.read(0) is None
    torn.close()
    take(folder(files, state, of="other"), 3)


def test_what_is_no_file_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")  # opened, it would be waited for until somebody writes
    (tmp_path / "b.json").mkdir()
    (tmp_path / "c.json").symlink_to(tmp_path / "c.json")
    (tmp_path / "d.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "e.json").write_text("[1, 2, 3]")
    source = folder(tmp_path)
    assert x(take(source, 1)[0]) == [1, 2, 3]
    assert source.read(0) is None


def test_a_pipe_is_not_followed_as_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lines")
    with pytest.raises(OSError, match="is no plain file"):
        tail(tmp_path / "lines")


def test_messages_that_wait_are_bounded_in_bytes_and_the_newest_stay() -> None:
    waiting = Waiting(1000)
    for number in range(100):
        waiting.put(Item(number, 0, bytes(1_000_000)))
    found = list(iter(lambda: waiting.take(0), None))
    assert sum(len(item.payload) for item in found) <= 16 * 2**20
    assert [item.mono_us for item in found] == list(range(100 - len(found), 100))
    assert found[0].dropped == 100 - len(found)
    waiting.put(Item(0, 0, bytes(65 * 2**20)))
    (late,) = iter(lambda: waiting.take(0), None)
    assert (late.payload, late.fault) == (b"", "a message longer than 64 MiB")


def test_a_folder_forgets_files_that_are_gone(tmp_path: Path) -> None:
    taken = Taken(tmp_path / "taken", "it")
    for n in range(5000):
        taken.add(n)
    taken.forget_all_but(range(4990, 5000))
    taken.save()
    assert len(taken) == 10
    assert (tmp_path / "taken").stat().st_size == 8 * 11
    assert 4995 in Taken(tmp_path / "taken", "it")


def test_what_was_taken_is_appended_now_and_then_and_at_the_close(tmp_path: Path) -> None:
    now = 0.0
    taken = Taken(tmp_path / "taken", "it", now_s=lambda: now)
    for n in range(3):
        taken.add(n)
    assert len(Taken(tmp_path / "taken", "it")) == 1
    now = 6.0
    taken.add(3)
    assert len(Taken(tmp_path / "taken", "it")) == 4
    taken.add(4)
    taken.save()
    assert len(Taken(tmp_path / "taken", "it")) == 5


@pytest.mark.parametrize("stray", [1, 7])
def test_what_is_taken_after_a_torn_end_outlives_a_restart_too(tmp_path: Path, stray: int) -> None:
    file = tmp_path / "sources" / "one"
    for key in (11, 12):
        taken = Taken(file, "/in")
        taken.add(key)
        taken.save()
    file.write_bytes(file.read_bytes() + b"\x07" * stray)  # a power cut in the midst of an entry
    taken = Taken(file, "/in")
    taken.add(13)
    taken.save()
    again = Taken(file, "/in")
    assert [key in again for key in (11, 12, 13)] == [True] * 3
    assert len(again) == 3


def test_a_place_is_written_now_and_then_and_at_the_close(tmp_path: Path) -> None:
    now = 0.0
    place = Place(tmp_path / "p.json", "it", now_s=lambda: now)
    place.keep({"n": 1})
    place.keep({"n": 2})
    assert Place(tmp_path / "p.json", "it").last()["n"] == 1
    now = 6.0
    place.keep({"n": 3})
    assert Place(tmp_path / "p.json", "it").last()["n"] == 3
    place.keep({"n": 4})
    place.save()
    assert Place(tmp_path / "p.json", "it").last()["n"] == 4


def test_images_and_raw_files_in_a_folder_are_read(tmp_path: Path) -> None:
    described = manifest(inputs=(TensorSpec("x", "uint8", (1, 2, 2, 3)),))
    pixels = np.arange(12, dtype=np.uint8)
    (tmp_path / "a.ppm").write_bytes(b"P6\n# a comment\n2 2 255\n" + pixels.tobytes())
    (tmp_path / "b.raw").write_bytes(pixels.tobytes())
    (tmp_path / "c.ppm").write_bytes(b"P6\n2 2 255\n" + pixels.tobytes()[:5])
    (tmp_path / "d.raw").write_bytes(b"123")
    feed = Folder(tmp_path, ManualClock(), Taken(None, ""), sleep=lambda _seconds: None)
    source = intake(feed, described, kind="folder", dtype="uint8", shape=(2, 2, 3))
    image, raw, short, wrong = take(source, 4)
    assert x(image) == x(raw) == pixels.reshape(2, 2, 3).tolist()
    assert short.fault is not None
    assert "5 bytes for 2 x 2" in short.fault.detail
    assert wrong.fault is not None
    assert wrong.fault.detail == "3 bytes, expected 12"


def tail(path: Path, place: Place = NOWHERE, *, from_start: bool = False) -> Intake:
    return intake(Tail(path, ManualClock(), place, from_start=from_start, sleep=lambda _seconds: None), kind="file")


def test_a_file_on_a_disk_that_comes_late_is_read_on_from_where_it_was_left(tmp_path: Path) -> None:
    path, away = tmp_path / "log.jsonl", tmp_path / "elsewhere"
    path.write_text("[1, 1, 1]\n[2, 2, 2]\n")
    source = tail(path, Place(tmp_path / "place", str(path)), from_start=True)
    assert [x(reading) for reading in take(source, 2)] == [[1, 1, 1], [2, 2, 2]]
    source.close()
    path.rename(away)
    again = tail(path, Place(tmp_path / "place", str(path)))
    assert again.read(0) is None
    away.rename(path)
    with path.open("a") as file:
        file.write("[3, 3, 3]\n")
    assert x(take(again, 1)[0]) == [3, 3, 3]
    # Another file of the name is read whole.
    path.unlink()
    path.write_text("[4, 4, 4]\n")
    assert x(take(again, 1)[0]) == [4, 4, 4]
    again.close()


def test_a_file_is_followed_over_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("[0, 0, 0]\n")
    source = tail(path)
    assert source.read(0) is None  # what was there before is left alone
    with path.open("a") as file:
        file.write("[1, 1, 1]\n[2, 2")
    assert x(take(source, 1)[0]) == [1, 1, 1]
    with path.open("a") as file:
        file.write(", 2]\n[3, 3, 3]\n")
    path.rename(tmp_path / "log.jsonl.1")
    path.write_text("[4, 4, 4]\n")
    assert [x(reading)[0] for reading in take(source, 3)] == [2, 3, 4]
    path.write_text("[5, 5, 5]\n" * 1)
    os.truncate(path, 0)
    assert source.read(0) is None
    path.write_text("[6, 6, 6]\n")
    assert x(take(source, 1)[0]) == [6, 6, 6]
    path.unlink()
    assert source.read(0) is None
    path.write_text("[7, 7, 7]\n")
    assert x(take(source, 1)[0]) == [7, 7, 7]
    source.close()


def test_what_is_appended_right_before_a_rotation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("")

    class Late(Tail):
        """Looks once before the last line is there."""

        def _fill(self) -> bool:
            if path.stat().st_size == 0:
                path.write_text("[1, 1, 1]\n")
                path.rename(tmp_path / "log.jsonl.1")
                path.write_text("[2, 2, 2]\n")
                return False
            return super()._fill()

    source = intake(Late(path, ManualClock(), NOWHERE, sleep=lambda _seconds: None), kind="file")
    assert [x(reading)[0] for reading in take(source, 2)] == [1, 2]
    source.close()


def test_a_file_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path, state = tmp_path / "log.jsonl", tmp_path / "place.json"
    path.write_text("[0, 0, 0]\n[1, 1, 1]\n[2, 2, 2]\n")
    first = tail(path, Place(state, "it"), from_start=True)
    take(first, 2)
    first.close()
    again = tail(path, Place(state, "it"))
    assert [x(reading)[0] for reading in take(again, 1)] == [2]
    again.close()
    # Rotated while nobody looked: the new file is read whole.
    path.rename(tmp_path / "log.jsonl.1")
    path.write_text("[3, 3, 3]\n")
    third = tail(path, Place(state, "it"))
    assert [x(reading)[0] for reading in take(third, 1)] == [3]
    third.close()
    # Written anew in place of it, with the same inode and more bytes: not the file that was left.
    path.write_text("[4, 4, 4]\n[5, 5, 5]\n")
    fourth = tail(path, Place(state, "it"))
    assert [x(reading)[0] for reading in take(fourth, 2)] == [4, 5]
    fourth.close()


def test_numbers_are_made_the_declared_dtype_only_without_loss() -> None:
    small = np.dtype(np.int8)
    assert as_declared([1, 2], small).dtype == small  # type: ignore[union-attr]
    assert as_declared([1, 300], small).dtype != small  # type: ignore[union-attr]
    assert as_declared([1.5], small).dtype.kind == "f"  # type: ignore[union-attr]
    assert as_declared([[1], [2, 3]], small) is None
    assert as_declared([1e300], np.dtype(np.float32)).tolist() == [np.inf]  # type: ignore[union-attr]


def test_the_settings_choose_the_source_and_a_bundle_that_takes_the_same_keeps_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS)
    inlet = open_inlet(settings(kind="replay", path=str(tmp_path / "a.npz"), loop=True), ManualClock(), lambda *_: None)
    source = inlet.fitted(manifest())
    assert isinstance(source, Replay)
    assert inlet.fitted(manifest()) is source
    take(source, 3)
    # A bundle with other inputs gets another source, and the number goes on.
    other = inlet.fitted(manifest(inputs=(replace(INPUT, dtype="float64"),)))
    assert other is not source
    (reading,) = take(other, 1)
    assert (reading.index, reading.inputs["x"].dtype) == (3, np.float64)


def test_a_bundle_that_fills_what_is_missing_is_not_read_as_one_that_cannot() -> None:
    class Sensor:
        def take(self, timeout_s: float) -> Item | None:
            return Item(1, 1, b'{"a": 1, "b": 2}')

        def close(self) -> None:
            pass

    inlet = Inlet(settings(), ManualClock(), lambda *_: None, lambda _fit: Sensor())
    (before,) = take(inlet.fitted(manifest()), 1)
    assert before.fault is not None
    assert before.fault.reason is Reason.INPUT_MISSING
    later = inlet.fitted(manifest(inputs=(replace(INPUT, missing_allowed=True),)))
    (after,) = take(later, 1)
    assert (after.index, after.fault) == (1, None)
    assert after.inputs["x"].tolist() == [1, 2, pytest.approx(np.nan, nan_ok=True)]
    # What an int8 of its own unit holds is no float of another.
    assert inlet.fitted(manifest(inputs=(replace(INPUT, dtype="int8", scale=0.5),))) is not later


def test_a_folder_that_is_not_there_is_an_event_and_the_bundle_is_not_to_blame(tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []
    gone = tmp_path / "absent"
    inlet = open_inlet(
        settings(kind="folder", path=str(gone)), ManualClock(), lambda code, detail: told.append((code, detail))
    )
    source = inlet.fitted(manifest())
    assert source.read(0) is None
    assert source.read(0) is None
    ((code, detail),) = told
    assert code == "source-failed"
    assert "no such folder; make it" in detail["detail"]


@pytest.mark.parametrize("host", ["broker..local", f"{'b' * 64}.local"])
def test_a_broker_whose_name_no_host_can_have_is_an_event(host: str) -> None:
    told: list[tuple[str, Any]] = []
    inlet = open_inlet(
        settings(kind="mqtt", topic="a", host=host), ManualClock(), lambda code, detail: told.append((code, detail))
    )
    assert inlet.fitted(manifest()).read(0.5) is None
    ((code, detail),) = told
    assert code == "source-failed"
    assert f"{host}:1883: no name that a host can have" in detail["detail"]


def test_records_of_another_size_than_the_source_sends_refuse_the_bundle(tmp_path: Path) -> None:
    inlet = open_inlet(settings(kind="command", command=("true",), format="raw"), ManualClock(), lambda *_: None)
    inlet.fitted(manifest())
    with pytest.raises(WrongUse, match="its records have 12 bytes, this bundle takes 16"):
        inlet.fitted(manifest(inputs=(TensorSpec("x", "float32", (1, 4)),)))


def test_a_line_that_is_unplugged_while_it_is_opened_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    ours, theirs = pty.openpty()
    before = sorted(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr("fcntl.ioctl", unplugged)
    with pytest.raises(OSError, match="Input/output error"):
        open_line(Path(os.ttyname(theirs)), 9600, ManualClock(), Lines())
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    os.close(ours)
    os.close(theirs)
