"""From a body to rows: one or several, by input, by feature, as bytes or as arrays; what cannot be read says why."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import INPUT, manifest, session

from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.inference.serve.bodies import NPZ, RAW, parse
from sprat_device.inference.serve.exchange import Rows
from sprat_device.inference.serve.wire import JSON, Head, Refusal, Request

ONE = manifest()
IMAGE = manifest(inputs=(TensorSpec("image", "uint8", (1, 2, 2), scale=0.5),))
COUNT = TensorSpec("count", "int32", (1, 1))
TWO = manifest(inputs=(INPUT, COUNT))


def request(body: bytes, kind: str = JSON, **query: str) -> Request:
    headers = {"content-type": kind}
    return Request(Head("POST", "/", query, headers, len(body), keep=True, expects=False), body)


def rows(document: object, described: Manifest = ONE) -> Rows:
    return parse(request(json.dumps(document).encode()), described)


def values(asked: Rows, name: str = "x") -> list[Any]:
    return [row[name].tolist() for row in asked.rows]


@pytest.mark.parametrize(
    "document",
    [[1, 2, 3], {"x": [1, 2, 3]}, {"inputs": [1, 2, 3]}, {"inputs": {"x": [1, 2, 3]}}, {"c": 3, "b": 2, "a": 1},
     {"inputs": {"a": 1, "b": 2, "c": 3}}],
)  # fmt: skip
def test_one_row_comes_in_many_forms(document: object) -> None:
    asked = rows(document)
    assert (asked.single, values(asked)) == (True, [[1, 2, 3]])
    assert asked.rows[0]["x"].dtype == np.float32


@pytest.mark.parametrize(
    "document",
    [[[1, 2, 3], [4, 5, 6]], {"x": [[1, 2, 3], [4, 5, 6]]}, [{"x": [1, 2, 3]}, {"a": 4, "b": 5, "c": 6}],
     {"inputs": [{"x": [1, 2, 3]}, {"x": [4, 5, 6]}]}, {"a": [1, 4], "b": [2, 5], "c": [3, 6]}],
)  # fmt: skip
def test_several_rows_too(document: object) -> None:
    asked = rows(document)
    assert (asked.single, values(asked)) == (False, [[1, 2, 3], [4, 5, 6]])


def test_a_list_of_one_row_is_answered_as_a_list() -> None:
    assert rows([[1, 2, 3]]).single is False


def test_the_begin_of_a_sequence_is_said_beside_the_inputs() -> None:
    assert rows({"inputs": [1, 2, 3], "begins": True}).begins
    assert not rows({"inputs": [1, 2, 3]}).begins
    raw = np.array([1, 2, 3], "<f4").tobytes()
    assert parse(request(raw, RAW, begins="true"), ONE).begins


def test_texts_are_texts() -> None:
    colour = manifest(inputs=(TensorSpec("colour", "string", (-1, 1), features=("colour of it",)),))
    for document in (["red"], {"colour": ["red"]}, {"colour of it": "red"}):
        asked = rows(document, colour)
        assert (asked.single, values(asked, "colour")) == (True, [["red"]])
    with pytest.raises(Refusal, match="no raw form"):
        parse(request(b"red", RAW), colour)


def test_null_is_a_missing_value() -> None:
    assert np.isnan(rows([1, None, 3]).rows[0]["x"][1])


def test_raw_bytes_are_rows_of_the_declared_form() -> None:
    asked = parse(request(np.arange(6, dtype="<f4").tobytes(), RAW), ONE)
    assert values(asked) == [[0, 1, 2], [3, 4, 5]]
    asked = parse(request(bytes([1, 2, 3, 4]), RAW, dtype="uint8"), IMAGE)
    assert (asked.single, values(asked, "image")) == (True, [[[1, 2], [3, 4]]])
    assert asked.rows[0]["image"].dtype == np.float32  # a quantized input is read in its unit


def test_raw_bytes_may_be_what_a_sensor_gives() -> None:
    asked = parse(request(bytes(range(12)), RAW, dtype="uint8", shape="2,3"), ONE)
    assert (asked.single, values(asked)) == (False, [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])


def test_a_number_that_no_dtype_holds_is_left_for_the_session_to_name() -> None:
    (row,) = rows([1, 2, 10**400]).rows
    assert session().check_input(row) == "input-dtype"


def test_arrays_by_name_come_as_npz() -> None:
    held = io.BytesIO()
    np.savez(held, x=np.ones((2, 3), np.float32), count=np.array([[4], [5]], np.int64))
    asked = parse(request(held.getvalue(), NPZ), TWO)
    assert (values(asked), values(asked, "count")) == ([[1, 1, 1]] * 2, [[4], [5]])
    assert asked.rows[0]["count"].dtype == np.int32


@pytest.mark.parametrize(
    ("document", "status", "told"),
    [
        ({"a": 1, "b": 2, "d": 3}, 422, "feature 'c' is missing"),
        ({"y": [1, 2, 3]}, 422, "feature 'a' is missing"),
        ([[1, 2], [3]], 422, "lists of different lengths"),
        ({"a": [1, 2], "b": 2, "c": 3}, 422, "different numbers of values"),
        ([{"x": [1, 2, 3]}, {"x": [[1, 2, 3]]}], 422, "several rows"),
    ],
)
def test_what_cannot_be_a_row_says_why(document: object, status: int, told: str) -> None:
    with pytest.raises(Refusal, match=told) as refused:
        rows(document)
    assert refused.value.status == status


def test_a_row_of_another_shape_is_left_for_the_session_to_name() -> None:
    assert [rows(document).rows[0]["x"].shape for document in ([], [1, 2], 3)] == [(0,), (2,), ()]


@pytest.mark.parametrize(
    ("asked", "described", "status", "told"),
    [
        (request(b"{"), ONE, 400, "not JSON"),
        (request(b"[" * 100_000), ONE, 400, "not JSON"),
        (request(b"1", "text/plain"), ONE, 415, "expected one of application/json"),
        (request(b"x=1", "application/x-www-form-urlencoded"), ONE, 415, "Content-Type"),
        (request(b"\0" * 13, RAW), ONE, 422, "13 bytes, expected 12 for each row"),
        (request(b"", RAW), ONE, 422, "0 bytes"),
        (request(b"\0" * 12, RAW), TWO, 422, "inputs x, count"),
        (request(b"[1, 2, 3]"), TWO, 422, "inputs x, count"),
        (request(b'{"x": [1, 2, 3], "coumt": 1}'), TWO, 422, "'count' is missing.*did you mean 'coumt'"),
        (request(b'{"x": [[1, 2, 3]], "count": [1]}'), TWO, 422, "different or no rows"),
        (request(b"\0" * 12, RAW, dtype="object"), ONE, 415, "no raw form"),
        (request(b"\0" * 12, RAW, shape="3,0"), ONE, 400, "the axes of a row"),
        (request(b"\0" * 13, RAW, shape="2,2", dtype="uint8"), ONE, 422, r"expected 4 for each row: uint8 \[2, 2\]"),
        (request(b"PK\3\4 nothing", NPZ), ONE, 400, "not a readable npz"),
        (
            request(json.dumps(["a" * 1000] + [0] * 100_000).encode()),
            ONE,
            422,
            "'x': 100001 values beside a text of 1000",
        ),
        (request(bytes(100_001), RAW, dtype="uint8", shape="1"), IMAGE, 413, "100001 rows at once, at most 100000"),
        (request(bytes(4 * 100_001), RAW), manifest(inputs=(COUNT,)), 413, "100001 rows at once, at most 100000"),
    ],
)
def test_bodies_that_are_refused(asked: Request, described: Manifest, status: int, told: str) -> None:
    with pytest.raises(Refusal, match=told) as refused:
        parse(asked, described)
    assert refused.value.status == status
