"""Parsers face bytes from anybody: whatever comes, they answer with a value or with their own errors."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sprat_device.contract import (
    acks,
    arrays,
    capture,
    enrolment,
    frame,
    manifest,
    records,
    release,
    shadow,
    summary,
    topics,
    twin,
)
from sprat_device.contract.errors import BundleRefused, ContractError

VALID = Path(__file__).parents[2] / "contract" / "valid"
OWN = (ContractError, BundleRefused)


def read_frame(raw: bytes) -> object:
    whole = frame.open_frame(raw)
    return records.decode(whole.body, count=whole.header.count)


def loaded(parse: Callable[[object], object]) -> Callable[[bytes], object]:
    def read(raw: bytes) -> object:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        return parse(document)

    return read


def unpacked(parse: Callable[[object], object]) -> Callable[[bytes], object]:
    def read(raw: bytes) -> object:
        try:
            document = msgpack.unpackb(raw)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException):
            return None
        return parse(document)

    return read


PARSERS: dict[str, Callable[[bytes], object]] = {
    "frame": read_frame,
    "manifest": manifest.parse,
    "release": loaded(release.parse),
    "desired": twin.parse_desired,
    "reported": twin.parse_reported,
    "presence": twin.parse_presence,
    "ack": acks.parse,
    "topic": lambda raw: topics.parse(raw.decode("utf-8", "replace")),
    "token": lambda raw: enrolment.parse_token("sprat1." + raw.decode("utf-8", "replace")),
    "request": loaded(enrolment.parse_request),
    "answer": loaded(enrolment.parse_answer),
    "summary": loaded(summary.parse),
    "capture": unpacked(capture.parse),
    "shadow": loaded(shadow.parse),
}
JSON_KINDS = ("manifest", "release", "desired", "reported", "ack")
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def only_own_errors(read: Callable[[], object]) -> None:
    try:
        read()
    except OWN as exc:
        said = str(exc)
    else:
        return
    assert "\n" not in said, "one error, one line"


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=40)
@given(raw=st.binary(max_size=300))
@example(raw=b"[" * 20_000)
@example(raw=b"[null, null, null]")
@example(raw=b'"\\ud800"')
def test_random_bytes(kind: str, raw: bytes) -> None:
    only_own_errors(lambda: PARSERS[kind](raw))


@pytest.mark.parametrize("path", sorted(VALID.glob("*.bin")) + sorted(VALID.glob("*.txt")), ids=lambda path: path.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_bytes(path: Path, data: st.DataObject) -> None:
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        raw = raw or bytearray(b"x")
    only_own_errors(lambda: PARSERS[path.name.split(".")[0]](bytes(raw)))


def _places(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, entry in inner for place in _places(entry, (*here, key)))]


def _replaced(document: Any, place: tuple[Any, ...], value: object) -> Any:
    if not place:
        return value
    key, *rest = place
    copy = document.copy()
    copy[key] = _replaced(document[key], tuple(rest), value)
    return copy


@pytest.mark.parametrize(
    "path", [p for kind in JSON_KINDS for p in sorted(VALID.glob(f"{kind}.*.json"))], ids=lambda path: path.name
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place(path: Path, data: st.DataObject) -> None:
    document = json.loads(path.read_bytes())
    place = data.draw(st.sampled_from(_places(document)))
    mutated = json.dumps(_replaced(document, place, data.draw(JSON_VALUES))).encode()
    only_own_errors(lambda: PARSERS[path.name.split(".")[0]](mutated))


MSGPACK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["index", "label", "code", "detail", "outputs", "mono_us", "wall_us"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
COLUMN = st.tuples(
    st.sampled_from(["<f2", "<f4", "<i2", "<i4", "<u4", "<i8"]),
    st.lists(st.integers(-1, 4), max_size=3),
    st.binary(max_size=16),
)


@given(
    st.fixed_dictionaries(
        {
            "schema": st.just(records.SCHEMA),
            "model": st.just("m") | MSGPACK,
            "release_seq": MSGPACK,
            "bundle": st.just("ab" * 32) | MSGPACK,
        },
        optional={
            "rows": MSGPACK,
            "columns": st.dictionaries(
                st.sampled_from(["index", "mono_us", "label", "latency_us", "outputs", "more"]),
                COLUMN | MSGPACK,
                max_size=6,
            ),
        },
    )
)
@example({
    "schema": records.SCHEMA, "model": "m", "release_seq": 1, "bundle": "ab" * 32,
    "columns": {"index": ["<i4", [True], bytes(4)]},
})  # fmt: skip
def test_any_body(document: dict[str, object]) -> None:
    body = zstandard.ZstdCompressor().compress(msgpack.packb(document))
    only_own_errors(lambda: records.decode(body, count=1))


@given(st.binary(max_size=200))
def test_any_plain_body(plain: bytes) -> None:
    only_own_errors(lambda: records.decode(zstandard.ZstdCompressor().compress(plain), count=1))


@given(MSGPACK)
def test_any_sketch(raw: object) -> None:
    only_own_errors(
        lambda: summary.parse({"predictions": 1, "latency": raw, "drift": {"x": raw}, "classes": {"1": raw}})
    )


def test_a_token_is_never_shown() -> None:
    with pytest.raises(ContractError) as caught:
        enrolment.parse_token("sprat1.c2VjcmV0")
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("header", ["{'descr': '<f4', 'shape': (1,", "(" * 200, "{'descr': 3}", "'\\x00", "[]" * 40])
def test_a_hostile_header_inside_an_npz_is_one_error(header: str) -> None:
    text = header.encode().ljust(118) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(arrays.zip_entry("x.npy"), npy)
    with pytest.raises(ContractError):
        arrays.parse(raw.getvalue(), max_bytes=10_000)
