"""Where signed files come from: the hub's device port over verified TLS, or a folder that somebody brought.

Neither is trusted for content. Errors of both are `TryLater`, or `FileMissing` where the answer is a clear no.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import urllib3

from sprat_device.board import tls
from sprat_device.board.identity import Identity
from sprat_device.board.pinned import sentence
from sprat_device.contract.enrolment import METADATA_PATH, TARGETS_PATH
from sprat_device.contract.errors import HubUnreachable, SpratError
from sprat_device.contract.phases import Reason

CHUNK: Final = 64 * 1024
_MOST_ANSWER: Final = 512 * 1024
_MOST_REASON: Final = 4096
_TIMEOUT: Final = urllib3.Timeout(connect=20, read=30)


class TryLater(HubUnreachable):
    """The transfer did not end well; the same one may succeed later."""

    def __init__(self, message: str, reason: Reason = Reason.UNREACHABLE) -> None:
        """Keep the closed reason code beside the sentence."""
        super().__init__(message)
        self.reason = reason


class FileMissing(TryLater):
    """The origin says that it has no such file."""

    def __init__(self, message: str, status: int = 404) -> None:
        """Keep the HTTP status beside the sentence."""
        super().__init__(message)
        self.status = status


class HubRefused(SpratError):
    """The hub says no, and will say so again."""

    exit_code = 1


class Origin(Protocol):
    """A served repository."""

    def metadata(self, name: str) -> Iterator[bytes]:
        """Return the chunks of a metadata file."""

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Return where the answer begins (`offset`, or 0 where resuming is not possible) and its chunks."""


class FolderOrigin:
    """A copied repository: a folder with `metadata/` and `targets/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def metadata(self, name: str) -> Iterator[bytes]:
        """Return the chunks of a metadata file."""
        return self._read(self._folder / "metadata" / name, 0)

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Return the file's chunks from `offset`."""
        return offset, self._read(self._folder / "targets" / stored_as, offset)

    def _read(self, path: Path, offset: int) -> Iterator[bytes]:
        if not path.is_file():
            raise FileMissing(f"{path} is missing; copy the repository whole")
        return _chunks_of(path, offset)


def _chunks_of(path: Path, offset: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as exc:
        raise TryLater(f"{path}: {exc.strerror}; is the stick still there?") from exc


class HubOrigin:
    """The hub's device port, with this device's certificate; the pinned CA is the only one that it believes."""

    def __init__(self, url: str, identity: Identity, *, trusted_us: Callable[[], int]) -> None:
        self._url = url.rstrip("/")
        context = tls.context(ca=identity.ca, certificate=identity.certificate, key=identity.key, trusted_us=trusted_us)
        # Times are judged by trusted time: what urllib3 thinks of the wall clock would fill the journal and mislead.
        warnings.simplefilter("ignore", urllib3.exceptions.SystemTimeWarning)
        self._pool = urllib3.PoolManager(ssl_context=context)

    def metadata(self, name: str) -> Iterator[bytes]:
        """Return the chunks of a metadata file."""
        return self._chunks(self._get(METADATA_PATH + quote(name), {}))

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Return the file's chunks from `offset`, or from the beginning where the hub does not resume."""
        path = TARGETS_PATH + quote(stored_as)
        response = self._get(path, {"Range": f"bytes={offset}-"} if offset else {})
        if response.status == 416:  # longer than what the hub has: the part is not of this file
            response.close()
            response = self._get(path, {})
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        return (offset if resumed else 0), self._chunks(response)

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the answer to a short question; FileMissing where the hub knows no such thing, HubRefused for a no."""
        response = self._request(method, path, {"Content-Type": "application/json"} if body else {}, body)
        try:
            with _mapped(self._url + path):
                data = response.read(_MOST_ANSWER + 1)
        finally:
            response.close()
        if response.status == 200 and len(data) <= _MOST_ANSWER:
            return data
        said = f"{self._url + path}: the hub answers {response.status} {sentence(data)}"
        if response.status == 404:
            raise FileMissing(said)
        raise HubRefused(said) if 400 <= response.status < 500 else TryLater(said)

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> urllib3.BaseHTTPResponse:
        url = self._url + path
        with _mapped(url):
            return self._pool.request(
                method, url, headers={"Accept-Encoding": "identity", **headers}, body=body or None,
                preload_content=False, retries=False, redirect=False, timeout=_TIMEOUT,
            )  # fmt: skip

    def _get(self, path: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        url = self._url + path
        response = self._request("GET", path, headers)
        if response.status in (200, 206, 416):
            return response
        said = self._no(response) if response.status == 403 else ""
        # Not given back to the pool: its unread body would be taken for the beginning of the next answer.
        response.close()
        if response.status in (403, 404):
            raise FileMissing(f"{url}: the hub answers {response.status}{said}", response.status)
        raise TryLater(f"{url}: the hub answers {response.status}")

    def _no(self, response: urllib3.BaseHTTPResponse) -> str:
        """Return why the hub says no: a device that was revoked shall hear so."""
        with _mapped(self._url):
            return f" {sentence(response.read(_MOST_REASON))}"

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            with _mapped(self._url):
                # read1 returns what has come: a sender that drips bytes cannot hide behind a full buffer.
                while chunk := response.read1(CHUNK):
                    yield chunk
        finally:
            response.close()


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.TimeoutError as exc:
        raise TryLater(f"{url}: the hub does not answer in time", Reason.TOO_SLOW) from exc
    except (urllib3.exceptions.HTTPError, OSError) as exc:
        if getattr(exc, "errno", None) == errno.ENOMEM:
            raise MemoryError from exc
        raise TryLater(f"{url}: {' '.join(str(exc).split())[:200]}") from exc
