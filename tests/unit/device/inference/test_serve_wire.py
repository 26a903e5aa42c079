"""HTTP as bytes: what is taken for a request, and what is refused before anything else looks at it."""

from __future__ import annotations

import pytest

from sprat_device.inference.serve.wire import Refusal, Response, parse_head


def test_a_request_is_read() -> None:
    head = parse_head(
        b"POST /v1/models/a%2Db/predict?dtype=uint8&x= HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 12\r\n"
        b"Content-Type: application/JSON; charset=utf-8\r\nAccept: a/b\r\nAccept:  c/d \t"
    )
    assert (head.method, head.path, head.query) == ("POST", "/v1/models/a-b/predict", {"dtype": "uint8", "x": ""})
    assert (head.length, head.keep, head.expects) == (12, True, False)
    assert head.content_type == "application/json"
    assert head.headers["accept"] == "a/b, c/d"


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_a_connection_is_kept_as_its_version_has_it(version: str, connection: str, keep: bool) -> None:
    line = f"GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}"
    assert parse_head(line.encode()).keep is keep


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: a", 400),
        (b"GET / HTTP/2.0\r\nHost: a", 400),
        (b"GET  / HTTP/1.1\r\nHost: a", 400),
        (b"get / HTTP/1.1\r\nHost: a", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: a", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost : a", 400),
        (b"GET / HTTP/1.1\nHost: a", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nb", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", 411),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", 411),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders", 417),
        (b"GET / HTTP/1.1\r\nHost: a" + b"\r\nX: y" * 64, 431),
        (b"GET /?" + b"x=y&" * 16 + b"x=y HTTP/1.1\r\nHost: a", 400),
    ],
)
def test_what_is_no_plain_request_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        parse_head(raw)
    assert refused.value.status == status


def test_a_response_says_its_length_and_whether_more_may_follow() -> None:
    raw = Response(503, b"{}", headers={"Retry-After": "1"}).encode(keep=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert {b"Content-Length: 2", b"Connection: close", b"Retry-After: 1"} <= set(head.split(b"\r\n"))
    assert body == b"{}"
