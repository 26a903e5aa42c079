"""Whatever bytes come over a connection or as a body: a request, a refusal, or nothing yet, and never anything else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.device.inference.bundles import INPUT, manifest

from sprat_device.board.settings import ServeSettings
from sprat_device.contract.manifest import TensorSpec
from sprat_device.inference.serve.bodies import NPZ, RAW, parse
from sprat_device.inference.serve.connection import Connection, Phase
from sprat_device.inference.serve.room import Room
from sprat_device.inference.serve.wire import JSON, Head, Refusal, Request

MODELS = [manifest(), manifest(inputs=(INPUT, TensorSpec("n", "int32", (1, 2)), TensorSpec("s", "string", (1, 1))))]
PIECES = st.sampled_from([
    b"GET / HTTP/1.1\r\n", b"POST /v1/models/a/predict HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 999999999999\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"\r\n", b"abc", b"\0",
    b"Transfer-Encoding: chunked\r\n", b"X" * 9000,
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["x", "n", "s", "a", "b", "c", "inputs", "begins", "y"])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def _or_status(work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what came of it, or the status of its refusal."""
    try:
        return work(), 0
    except Refusal as exc:
        return None, exc.status


@given(st.lists(PIECES | st.binary(max_size=40), max_size=12))
def test_any_bytes_are_a_request_or_a_refusal_or_not_whole_yet(chunks: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, ServeSettings(), Room(ServeSettings().max_waiting_bytes), 0.0)
        theirs.setblocking(False)
        for chunk in chunks:
            theirs.sendall(chunk) if chunk else None
            if not connection.receive():
                return
            request, status = _or_status(lambda: connection.take(0.0))
            if status:
                assert 400 <= status < 500
                return
            if request is not None:
                assert len(request.body) == request.head.length
                assert connection.phase is Phase.WAITING
                return


@given(st.sampled_from(MODELS), DOCUMENTS)
def test_any_document_is_rows_or_a_refusal(model: Any, document: Any) -> None:

    _parsed(model, json.dumps(document).encode(), JSON, {})


@given(
    st.sampled_from(MODELS),
    st.binary(max_size=64),
    st.sampled_from([JSON, RAW, NPZ, ""]),
    st.dictionaries(
        st.sampled_from(["dtype", "shape", "begins"]), st.sampled_from(["", "uint8", "true", "1,2", "3", "x"])
    ),
)
def test_any_body_is_rows_or_a_refusal(model: Any, body: bytes, kind: str, query: dict[str, str]) -> None:
    _parsed(model, body, kind, query)


def _parsed(model: Any, body: bytes, kind: str, query: dict[str, str]) -> None:
    head = Head("POST", "/", query, {"content-type": kind}, len(body), keep=True, expects=False)
    asked, status = _or_status(lambda: parse(Request(head, body), model))
    if asked is None:
        assert status in {400, 415, 422}
        return
    assert asked.rows
    names = {spec.name for spec in model.inputs}
    assert all(row.keys() == names for row in asked.rows)
    assert not asked.single or len(asked.rows) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_what_a_client_sends_ahead_is_bounded(count: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, ServeSettings(), Room(ServeSettings().max_waiting_bytes), 0.0)
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.receive()
        assert connection.take(0.0) is not None
        theirs.sendall(b"X" * 8000 * count)
        assert connection.receive() is (count == 1)
