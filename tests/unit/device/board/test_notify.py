"""What the service manager hears, on a real datagram socket."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sprat_device.board.notify import Notifier


class Manager:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def _environment(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.socket.getsockname(), "HOME": "/", **more}


def test_each_word_is_a_datagram(manager: Manager) -> None:
    notifier = Notifier.of_environment(_environment(manager))
    notifier.ready("answers\nwell")
    assert manager.heard() == ["READY=1", "STATUS=answers well"]
    notifier.reloading()
    first, since = manager.heard()
    assert (first, since.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]


def test_the_same_status_is_told_once(manager: Manager) -> None:
    notifier = Notifier.of_environment(_environment(manager))
    for line in ("one", "one", "two"):
        notifier.status(line)
    assert [manager.heard(), manager.heard()] == [["STATUS=one"], ["STATUS=two"]]


def test_children_do_not_inherit_the_socket_and_a_successor_does(manager: Manager) -> None:
    environment = _environment(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    notifier = Notifier.of_environment(environment)
    assert environment == {"HOME": "/"}
    assert notifier.watchdog_s == 30
    notifier.give_back(environment)
    assert environment == _environment(manager, WATCHDOG_USEC="30000000")


def test_a_watchdog_meant_for_another_process_is_not_fed(manager: Manager) -> None:
    assert Notifier.of_environment(_environment(manager, WATCHDOG_USEC="1", WATCHDOG_PID="1")).watchdog_s == 0
    assert Notifier.of_environment({"WATCHDOG_USEC": "1"}).watchdog_s == 0


def test_abstract_names_are_understood() -> None:
    name = f"sprat-test-{os.getpid()}"
    manager = Manager("\0" + name)
    environment = {"NOTIFY_SOCKET": "@" + name}
    notifier = Notifier.of_environment(environment)
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.give_back(environment)
    assert environment == {"NOTIFY_SOCKET": "@" + name}
    manager.socket.close()


def test_a_manager_that_is_gone_is_told_in_the_log_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with caplog.at_level(logging.WARNING):
        notifier.alive()
        notifier.alive()
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "the service manager cannot be told"
    ]
