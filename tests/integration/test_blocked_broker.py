"""An agent whose way to the broker is blocked: it looks at the hub by itself, and hears of its offers over HTTPS."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.installs import MODEL, offer_of
from tests.samples import Publisher, bundle
from tests.served import DevicePort

from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.contract.renewal import DESIRED_PATH
from sprat_device.contract.twin import Desired
from sprat_device.install.record import Records

pytestmark = pytest.mark.integration


def wait_for(met: Callable[[], bool], log: Path, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_offers_come_over_https_where_the_broker_cannot_be_reached(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    file = bundle(tmp_path / "one.sprat")
    offer = offer_of(publisher.release(file), file)
    state, log = tmp_path / "state", tmp_path / "agent.log"
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        enrol(port.url, port.token().dump(), state, device="d1")
        (state / "sprat.toml").write_text("[hub]\nmqtt_port = 1\n[install]\npoll_s = 1\n")
        with log.open("wb") as out:
            agent = subprocess.Popen(
                [sys.executable, "-m", "sprat_device", "run", "--state", str(state)], stdout=out, stderr=out
            )
        try:
            wait_for(lambda: any(path == DESIRED_PATH for path, _ in port.requests), log)
            assert Records(OsFiles(), state).load(MODEL).offer is None  # signed metadata alone installs nothing
            port.desired = Desired("hub", 1, {MODEL: offer}).dump()
            wait_for(lambda: Records(OsFiles(), state).load(MODEL).offer == offer, log)
            wait_for(lambda: any(f"/{offer.bundle}." in path for path, _ in port.requests), log)
        finally:
            agent.terminate()
            assert agent.wait(60) == 0, log.read_text()


def test_a_damaged_certificate_keeps_nobody_from_predicting(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    state, log = tmp_path / "state", tmp_path / "agent.log"
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        enrol(port.url, port.token().dump(), state, device="d1").certificate.write_bytes(b"damaged")
        (state / "sprat.toml").write_text("[install]\npoll_s = 1\n")
        with log.open("wb") as out:
            agent = subprocess.Popen(
                [sys.executable, "-m", "sprat_device", "run", "--state", str(state)], stdout=out, stderr=out
            )
        try:
            wait_for(lambda: "enrol this device again" in log.read_text(), log)
            wait_for(lambda: "look-failed" in log.read_text(), log)
            assert agent.poll() is None
        finally:
            agent.terminate()
            assert agent.wait(60) == 0, log.read_text()
