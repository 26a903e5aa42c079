"""A hub's device port in a thread, that serves a repository over TLS to devices and can misbehave in one way at a time."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding

from sprat.hub.fleet.identity import Authority, KeyPair, requested_key
from sprat_device.board import tls
from sprat_device.contract import enrolment, renewal
from sprat_device.contract.enrolment import EnrolAnswer, EnrolToken
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName

Answer = Callable[[str, bytes], bytes]
"""(path, true content) -> what is sent instead."""


class DevicePort:
    """Serves `repository`; after enrolment only to who shows a certificate of this CA."""

    def __init__(self, folder: Path, repository: Path, *, issued: datetime | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.repository = repository
        self.authority = Authority.create("test hub", issued or datetime.now(UTC))
        pair = KeyPair(folder / "hub.key", folder / "hub.pem")
        self.authority.issue_own("hub", ["127.0.0.1"], issued or datetime.now(UTC), pair)
        self.requests: list[tuple[str, str]] = []
        """(path, Range header) of what was asked."""
        self.mangle: Answer = lambda _path, content: content
        self.cut_after: int | None = None
        """Close the connection after so many bytes of each target."""
        self.resumes = True
        self.secret = "a secret"
        self.issues_at = datetime.now(UTC)
        """The clock by which certificates are renewed."""
        self.renews_as = "d1"
        """Whom a renewed certificate names; nobody: it is none."""
        self.refuses_renewal = False
        self.desired = b""
        self.routes_of_today = True
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                port.answer(self)

            def do_POST(self) -> None:
                port.requests.append((self.path, ""))
                port.renew(self) if self.path == renewal.RENEW_PATH else port.enrol(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= tls.NO_CHECK_TIME  # as the hub's own device port: what has ended is no matter of TLS
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def root(self) -> bytes:
        return (self.repository / "metadata/1.root.json").read_bytes()

    def token(self) -> EnrolToken:
        root = Digest(hashlib.sha256(self.root).hexdigest())
        return EnrolToken(self.secret, Digest(self.authority.sha256), root)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        self.requests.append((path, request.headers.get("Range", "")))
        if path == enrolment.CA_PATH:
            return _send(request, 200, self.authority.pem)
        if path == enrolment.ROOT_PATH:
            return _send(request, 200, self.root)
        connection = request.connection
        if not isinstance(connection, ssl.SSLSocket) or not connection.getpeercert():
            return _send(request, 403, b'{"error": {"code": "no-certificate", "message": "no device certificate"}}')
        if path == renewal.DESIRED_PATH and self.desired and self.routes_of_today:
            return _send(request, 200, self.desired)
        for prefix, folder in ((enrolment.METADATA_PATH, "metadata"), (enrolment.TARGETS_PATH, "targets")):
            file = self.repository / folder / path.removeprefix(prefix)
            if path.startswith(prefix) and file.is_file():
                return self._send_file(request, path, file, is_target=folder == "targets")
        return _send(request, 404, b"")

    def enrol(self, request: BaseHTTPRequestHandler) -> None:
        wanted = enrolment.parse_request(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        if wanted.secret != self.secret:
            return _send(request, 403, b'{"error": {"code": "token", "message": "this token is spent"}}')
        device = DeviceId(wanted.device or "device-7")
        certificate = self.authority.issue_device(device, requested_key(wanted.csr), datetime.now(UTC))
        pem = certificate.public_bytes(Encoding.PEM).decode()
        answer = EnrolAnswer(device, pem, "127.0.0.1", 8883, Channel("canary"), (ModelName("digits"),))
        return _send(request, 200, answer.dump())

    def renew(self, request: BaseHTTPRequestHandler) -> None:
        wanted = renewal.parse_request(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        if not self.routes_of_today:
            return _send(request, 404, b"")
        if self.refuses_renewal:
            return _send(
                request, 403, b'{"error": {"code": "revoked", "message": "not valid here any more; enrol again"}}'
            )
        pem = "no certificate"
        if self.renews_as:
            made = self.authority.issue_device(DeviceId(self.renews_as), requested_key(wanted.csr), self.issues_at)
            pem = made.public_bytes(Encoding.PEM).decode()
        return _send(request, 200, renewal.RenewAnswer(pem).dump())

    def _send_file(self, request: BaseHTTPRequestHandler, path: str, file: Path, *, is_target: bool) -> None:
        content = self.mangle(path, file.read_bytes())
        asked = request.headers.get("Range", "")
        if asked and self.resumes:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            headers = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
            status, body = 206, content[begin:]
        else:
            status, body, headers = 200, content, {}
        if is_target and self.cut_after is not None and len(body) > self.cut_after:
            _send(request, status, body, headers, cut_after=self.cut_after)
            return
        _send(request, status, body, headers)


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    cut_after: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[:cut_after])
    request.close_connection = True
