"""Fetching a wheelhouse from a hub that ends in the middle of it: another remedy than for a file that was changed."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sprat.hub.fleet.identity import Authority, KeyPair
from sprat_device.board import pinned
from sprat_device.board.upkeep.fetching import HubHouses
from sprat_device.board.upkeep.places import BoardRefused
from sprat_device.contract.errors import HubUnreachable
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.wheelhouse import MANIFEST, HouseFile, Wheelhouse

pytestmark = pytest.mark.integration
CONTENT = bytes(range(256)) * 4096
"""More than one piece of the download."""
FILE = HouseFile("wheels/a-1.whl", Digest(hashlib.sha256(CONTENT).hexdigest()), len(CONTENT))
WANTED = Wheelhouse(ModelName("pi-4-litert"), "pi-4", ("aarch64",), "3.11", "litert", "0.1.0", (FILE,))

Hub = Callable[[dict[str, bytes]], HubHouses]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Serve raw answers by path over TLS, and close after each, whatever its header has promised."""
    authority, pair = Authority.create("test hub", datetime.now(UTC)), KeyPair(tmp_path / "key", tmp_path / "pem")
    authority.issue_own("hub", ["127.0.0.1"], datetime.now(UTC), pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    threads = []

    def serve(listening: socket.socket, answers: dict[str, bytes]) -> None:
        for _ in answers:
            with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                path = connection.recv(65536).split(b" ", 2)[1].decode().rpartition("pi-4-litert/")[2]
                with contextlib.suppress(OSError):  # a client that has heard enough goes
                    connection.sendall(answers[path])

    def begin(answers: dict[str, bytes]) -> HubHouses:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(30)
        threads.append((threading.Thread(target=serve, args=(listening, answers)), listening))
        threads[-1][0].start()
        return HubHouses(f"https://127.0.0.1:{listening.getsockname()[1]}", pinned.context(authority.pem))

    yield begin
    for thread, listening in threads:
        thread.join()
        listening.close()


def answer(content: bytes, *, sent: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:sent]


def test_what_came_whole_is_kept(hub: Hub, tmp_path: Path) -> None:
    houses = hub({MANIFEST: answer(WANTED.dump()), FILE.name: answer(CONTENT)})
    found = houses.fetch(WANTED, tmp_path / "house")
    assert found.path(FILE).read_bytes() == CONTENT


@pytest.mark.parametrize("cut", [MANIFEST, FILE.name])
def test_a_download_that_is_cut_off_is_to_be_tried_again(hub: Hub, tmp_path: Path, cut: str) -> None:
    answers = {MANIFEST: answer(WANTED.dump())}
    answers[cut] = answer(WANTED.dump() if cut == MANIFEST else CONTENT, sent=100)
    with pytest.raises(HubUnreachable, match=r"cut off .*is the hub running and reachable"):
        hub(answers).fetch(WANTED, tmp_path / "house")


def test_a_longer_or_another_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    longer = hub({MANIFEST: answer(WANTED.dump()), FILE.name: answer(CONTENT + b"more")})
    with pytest.raises(BoardRefused, match="too-long: "):
        longer.fetch(WANTED, tmp_path / "longer")
    other = hub({MANIFEST: answer(WANTED.dump()), FILE.name: answer(CONTENT[::-1])})
    with pytest.raises(BoardRefused, match="tampered: "):
        other.fetch(WANTED, tmp_path / "other")


def test_a_disk_that_is_full_is_not_the_hubs_fault(hub: Hub, tmp_path: Path) -> None:
    script = replace(FILE, name="install.sh")
    house = replace(WANTED, files=(script,))
    (tmp_path / "house").mkdir()
    (tmp_path / "house/install.sh").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        hub({MANIFEST: answer(house.dump()), script.name: answer(CONTENT)}).fetch(house, tmp_path / "house")
