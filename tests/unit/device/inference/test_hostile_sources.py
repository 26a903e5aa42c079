"""Whatever bytes a source sends: a reading, or a fault with its reason; never another exception, for that ends the agent."""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.device.inference.bundles import INPUT, manifest, session

from sprat_device.board.settings import InputSettings
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.inference.sources.fitting import fit
from sprat_device.inference.sources.intake import Intake
from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.reading import Numbers, Reading
from sprat_device.inference.sources.splitting import MOST_RECORD, Lines, Records

SOME = settings(max_examples=40)
WHOLE = manifest(inputs=(replace(INPUT, dtype="int8"),))
TEXT = manifest(inputs=(TensorSpec("x", "string", (1, 3), features=("a", "b", "c")),))
TWO = manifest(inputs=(INPUT, TensorSpec("z", "float32", (1, 2), features=("d", "e"))))
WINDOW = manifest(inputs=(TensorSpec("x", "float32", (1, 2, 3)),))
DESCRIBED = {"floats": manifest(), "whole": WHOLE, "text": TEXT, "two": TWO}
NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from([10**400, -(10**30), 2**63]),
)
DOCUMENTS = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xzabcdet"), inner, max_size=6),
    max_leaves=12,
)


class One:
    def __init__(self, item: Item) -> None:
        self.left = [item, replace(item, mono_us=item.mono_us + 10)]

    def take(self, timeout_s: float) -> Item | None:
        return self.left.pop() if self.left else None

    def close(self) -> None:
        pass


def read(item: Item, described: Manifest, **given_: Any) -> list[Reading]:
    source = Intake(One(item), fit(replace(InputSettings("tiny", "stdin"), **given_), described), Numbers())
    found = [source.read(1), source.read(1)]
    return [reading for reading in found if reading is not None]


def check(found: list[Reading], described: Manifest) -> None:
    """Run the session's own check too: it must take or refuse whatever a source has made."""
    made = session(described=replace(described, outputs=manifest().outputs))
    for reading in found:
        assert reading.fault is not None or made.check_input(reading.inputs) in (None, *_REASONS)


_REASONS = (
    "input-missing", "input-shape", "input-dtype", "input-non-finite", "input-range",
)  # fmt: skip


class Mean:
    """Values that do what they like when they are looked at."""

    def __array__(self, *_: object, **__: object) -> Any:
        raise RuntimeError("not now")


class MeanMapping(dict[str, Any]):
    def keys(self) -> Any:
        raise RuntimeError("not now")

    def __getitem__(self, _key: str) -> Any:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "values", [Mean(), MeanMapping(x=[1, 2, 3]), {"x": Mean()}, {"x": [Mean(), 1, 2]}, MeanMapping()]
)
def test_values_that_are_code(values: Any) -> None:
    check(read(Item(0, 0, values=values), manifest(), kind="plugin"), manifest())


@pytest.mark.parametrize("name", sorted(DESCRIBED))
@pytest.mark.parametrize("shape", [{"format": "json"}, {"format": "csv"}, {"format": "json", "time_field": "t"}])
@SOME
@given(payload=st.binary(max_size=60))
def test_any_bytes(name: str, shape: dict[str, Any], payload: bytes) -> None:
    check(read(Item(0, 0, payload), DESCRIBED[name], **shape), DESCRIBED[name])


@pytest.mark.parametrize("name", sorted(DESCRIBED))
@pytest.mark.parametrize("more", [{}, {"time_field": "t"}])
@SOME
@given(document=DOCUMENTS)
def test_any_document(name: str, more: dict[str, Any], document: Any) -> None:
    check(read(Item(0, 0, json.dumps(document).encode()), DESCRIBED[name], **more), DESCRIBED[name])


@SOME
@given(document=DOCUMENTS)
def test_any_document_as_a_sample_of_a_window(document: Any) -> None:
    given_ = {"window": 2, "channels": ("a", "b", "c"), "time_field": "t", "resample_hz": 5.0}
    check(read(Item(0, 0, json.dumps(document).encode()), WINDOW, **given_), WINDOW)


@SOME
@given(document=DOCUMENTS)
def test_any_values_of_a_plug_in(document: Any) -> None:
    check(read(Item(0, 0, values=document), manifest(), kind="plugin", plugin="a"), manifest())


@pytest.mark.parametrize("huge", [10**400, [10**400, 1, 2], {"x": [1, -(10**400), 3]}, {"t": 10**400, "x": [1, 2, 3]}])
def test_whole_numbers_of_hundreds_of_digits(huge: Any) -> None:
    for described in DESCRIBED.values():
        found = read(Item(0, 0, json.dumps(huge).encode()), described, time_field="t")
        check(found, described)
    for told in read(Item(0, 0, json.dumps(huge).encode()), manifest(), time_field="t"):
        assert told.fault is not None or session().check_input(told.inputs) is not None


@SOME
@given(cells=st.lists(st.text('0123456789.-+einfa_" ,', max_size=6), max_size=5))
def test_any_cells(cells: list[str]) -> None:
    for described in DESCRIBED.values():
        check(read(Item(0, 0, ",".join(cells).encode()), described, format="csv"), described)


@pytest.mark.parametrize("form", [".json", ".npy", ".npz", ".ppm", ".pgm", ".raw", ".bin", ".other"])
@SOME
@given(payload=st.binary(max_size=80), cut=st.integers(0, 200))
def test_any_file(form: str, payload: bytes, cut: int) -> None:
    real = io.BytesIO()
    if form == ".npz":
        np.savez(real, x=np.zeros(3))
    else:
        np.save(real, np.zeros(3))
    image = b"P6\n2 1 255\n" + payload
    for raw in (payload, real.getvalue()[:cut], image, b"P5 " + payload):
        check(read(Item(0, 0, raw, form), manifest(), kind="folder", path="x", dtype="uint8", shape=(3,)), manifest())


@SOME
@given(chunks=st.lists(st.binary(max_size=40), max_size=20), size=st.integers(1, 30))
def test_pieces_are_those_of_the_whole_however_it_is_cut(chunks: list[bytes], size: int) -> None:
    whole = b"".join(chunks)
    for splitter, expected in (
        (Records(size), [whole[at : at + size] for at in range(0, len(whole) - size + 1, size)]),
        (Lines(1000), [line for line in whole.split(b"\n") if line.strip()]),
    ):
        found = []
        for chunk in chunks:
            splitter.push(chunk)
            while (piece := splitter.pop()) is not None:
                found.append(piece)
        splitter.end()
        while (piece := splitter.pop()) is not None:
            found.append(piece)
        assert found == expected
        assert splitter.consumed <= len(whole) + 1


def packed() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(300, dtype=np.float32).reshape(100, 3))
    return file.getvalue()


def header(text: str) -> bytes:
    plain = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(plain).to_bytes(2, "little") + plain + bytes(64)


ARCHIVE = packed()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_archive_is_a_reading_or_a_fault(flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(ARCHIVE)
    for place, byte in flips:
        damaged[place] = byte
    item = Item(1, 2, bytes(damaged), ".npz")
    check(read(item, manifest(), kind="folder", path="x"), manifest())


@pytest.mark.parametrize("shape", ["(10**15,)", "(1000000000000000,)", "(99999999999999999999999,)", "(True,)", "("])
def test_an_array_that_claims_what_it_is_not_is_a_fault(shape: str) -> None:
    payload = header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}")
    found = read(Item(1, 2, payload, ".npy"), manifest(), kind="folder", path="/x")
    assert [reading.fault is not None for reading in found] == [True, True]


def test_an_archive_that_would_fill_the_memory_is_a_fault() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros(MOST_RECORD // 4 + 1, np.float32))
    (first, _) = read(Item(1, 2, file.getvalue(), ".npz"), manifest(), kind="folder", path="/x")
    assert first.fault is not None
    assert first.fault.detail == "64 MiB when unpacked, at most 64 are read"


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(["a" * 1000] + [0] * 100_000),
        json.dumps({"x": [["a" * 1000, 1]] + [[1, 2]] * 50_000}),
        json.dumps(["a" * 2**18] + [0] * 2**18),
    ],
)
def test_a_long_text_beside_many_numbers_fills_no_memory(line: str) -> None:
    # An array of both takes the room of the longest text for every number: 400 MB for the first, 270 GB for the last.
    tracemalloc.start()
    try:
        found = read(Item(1, 2, line.encode()), manifest())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [reading.fault is not None for reading in found] == [True, True]
    assert "beside a text of " in str(found[0].fault)
    assert most < 40 * 2**20
