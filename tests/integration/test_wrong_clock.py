"""TLS on a board whose clock is wrong: to a real broker and a real device port, judged by trusted time alone."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from tests.brokers import TestAuthority, make_broker
from tests.clock import ManualClock
from tests.samples import Publisher
from tests.served import DevicePort

from sprat_device.board import tls
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.contract import topics
from sprat_device.contract.errors import HubUnreachable, MachineLacks
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import ClockState
from sprat_device.contract.topics import Kind
from sprat_device.install.floors import PairedRecord
from sprat_device.install.origins import HubOrigin, TryLater
from sprat_device.install.trusted_time import BUILT_US, FLOORS, TimeMark, TrustedClock
from sprat_device.telemetry.transport import Connected, Endpoint, MqttTransport, Signal, Will

pytestmark = pytest.mark.integration
DEVICE = DeviceId("d1")
YEARS = 365.0
WILL = Will(topics.topic(DEVICE, Kind.PRESENCE), b"")


def us(when: datetime) -> int:
    return int(when.timestamp() * 1e6)


def trusted(state: Path, wall: datetime, *, issued: datetime | None = None) -> Callable[[], int]:
    """Return trusted time of a board whose unsynchronised clock stands at `wall`."""
    state.mkdir(exist_ok=True)
    if issued:
        mark = TimeMark(us(issued), us(issued + timedelta(days=30)), 0, ("key",))
        PairedRecord(OsFiles(), state / FLOORS).store({"mark": mark.dump()})
    clock = ManualClock(wall_us=us(wall), state=ClockState.UNSYNCHRONISED)
    return TrustedClock(state, files=OsFiles(), clock=clock).now_us


def answer(authority: TestAuthority, port: int, trusted_us: Callable[[], int]) -> Signal | None:
    certificate, key = authority.issue(DEVICE)
    transport = MqttTransport(
        Endpoint(
            "localhost", port, DEVICE,
            lambda: tls.context(ca=authority.ca, certificate=certificate, key=key, trusted_us=trusted_us),
        )
    )  # fmt: skip
    try:
        transport.connect(WILL)
        return transport.receive(20)
    finally:
        transport.disconnect()


def test_a_lost_connection_leaves_nothing_for_the_garbage_collector(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    certificate, key = authority.issue(DEVICE)
    gc.disable()  # a full collection is rare in an agent that does nothing but lose its link
    try:
        context = tls.context(ca=authority.ca, certificate=certificate, key=key, trusted_us=lambda: 0)
        classes, kept = {type(context), type(context).sslsocket_class}, weakref.ref(context)
        context = tls.context(ca=authority.ca, certificate=certificate, key=key, trusted_us=lambda: 0)
        assert kept() is None
        assert {type(context), type(context).sslsocket_class} == classes
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("days", "wall"),
    [
        ((40 * YEARS, 42 * YEARS), datetime(2026, 6, 1, tzinfo=UTC)),  # by its clock the broker's time is far off
        ((-1, 30), datetime(1970, 1, 1, tzinfo=UTC)),
        ((-1, 30), datetime(2040, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_broker_is_believed_whatever_the_wall_clock_says(
    tmp_path: Path, days: tuple[float, float], wall: datetime
) -> None:
    authority = TestAuthority(tmp_path)
    broker = make_broker(tmp_path, authority, days=days)
    broker.start()
    try:
        assert isinstance(answer(authority, broker.port, trusted(tmp_path / "state", wall)), Connected)
    finally:
        broker.kill()


def test_a_broker_whose_certificate_has_ended_by_signed_time_is_left_before_a_byte_of_ours(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    broker = make_broker(tmp_path, authority, days=(-20, -1))
    broker.start()
    try:
        now = datetime.now(UTC)
        behind = trusted(tmp_path / "state", datetime(1970, 1, 1, tzinfo=UTC), issued=now - timedelta(days=2))
        assert isinstance(answer(authority, broker.port, behind), Connected)  # nothing says yet that it has ended
        there = trusted(tmp_path / "state", datetime(1970, 1, 1, tzinfo=UTC), issued=now)
        with pytest.raises(HubUnreachable, match=r"hub's certificate ended on .* renew it at the hub"):
            answer(authority, broker.port, there)
    finally:
        broker.kill()


def test_another_authority_is_no_matter_of_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    authority, stranger = TestAuthority(tmp_path), TestAuthority(tmp_path / "a")
    broker = make_broker(tmp_path / "a", stranger)
    broker.start()
    try:
        with pytest.raises(HubUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            answer(authority, broker.port, lambda: BUILT_US)
    finally:
        broker.kill()


@pytest.mark.parametrize("fake", ["@1970-01-01 00:01:00", "@2040-01-01 00:00:00"])
def test_a_process_that_lives_in_another_year_reaches_the_broker(tmp_path: Path, fake: str) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        assert not os.environ.get("CI"), "faketime is missing; CI installs it"
        pytest.skip("faketime is not installed")
    authority = TestAuthority(tmp_path)
    broker = make_broker(tmp_path, authority)
    broker.start()
    certificate, key = authority.issue(DEVICE)
    code = f"""
import time
from pathlib import Path
from sprat_device.board import tls
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.contract.phases import ClockState
from sprat_device.install.trusted_time import TrustedClock
from sprat_device.telemetry.transport import Endpoint, MqttTransport, Will
clock = SystemClock(ClockState.UNSYNCHRONISED)
trusted = TrustedClock(Path({str(tmp_path / "state")!r}), files=OsFiles(), clock=clock)
secured = lambda: tls.context(
    ca=Path({str(authority.ca)!r}), certificate=Path({str(certificate)!r}), key=Path({str(key)!r}),
    trusted_us=trusted.now_us)
transport = MqttTransport(Endpoint("localhost", {broker.port}, "d1", secured))
transport.connect(Will("sprat/v1/d1/up/presence", b""))
print(time.gmtime().tm_year, type(transport.receive(20)).__name__)
transport.disconnect()
"""
    try:
        done = subprocess.run(
            [faketime, "-f", fake, sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "TZ": "UTC", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        )  # fmt: skip
        assert done.stdout.split() == [fake[1:5], "Connected"], done.stderr
    finally:
        broker.kill()


def test_the_device_port_is_judged_by_the_same_time(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        device = enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")
        for year in (1970, 2040):
            origin = HubOrigin(
                port.url, device, trusted_us=trusted(tmp_path / "state", datetime(year, 1, 2, tzinfo=UTC))
            )
            assert next(origin.metadata("timestamp.json"))
        later = trusted(
            tmp_path / "state", datetime(1970, 1, 2, tzinfo=UTC), issued=datetime.now(UTC) + timedelta(days=900)
        )
        with pytest.raises(TryLater, match="hub's certificate ended"):
            next(HubOrigin(port.url, device, trusted_us=later).metadata("timestamp.json"))
        after = trusted(
            tmp_path / "state", datetime(1970, 1, 2, tzinfo=UTC), issued=datetime.now(UTC) + timedelta(days=9000)
        )
        with pytest.raises(TryLater, match=r"hub's (certificate|CA) ended"):
            next(HubOrigin(port.url, device, trusted_us=after).metadata("timestamp.json"))


def test_damaged_floors_do_not_keep_the_device_from_its_hub(tmp_path: Path) -> None:
    (tmp_path / f"{FLOORS}.a").write_bytes(b"damaged")
    now_us = TrustedClock(
        tmp_path, files=OsFiles(), clock=ManualClock(wall_us=0, state=ClockState.UNSYNCHRONISED)
    ).now_us
    assert now_us() == BUILT_US


def test_an_identity_that_cannot_be_loaded_names_the_remedy(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    certificate, key = authority.issue(DEVICE)
    key.write_bytes(b"damaged")
    with pytest.raises(MachineLacks, match="enrol this device again"):
        tls.context(ca=authority.ca, certificate=certificate, key=key, trusted_us=time.time_ns)


def test_the_journal_is_not_told_that_tls_will_fail_by_a_clock_that_tls_does_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3.connection, "RECENT_DATE", date(9999, 1, 1))  # so today's clock stands long ago
    with DevicePort(tmp_path / "port", Publisher(tmp_path / "publisher").folder / "repository") as port:
        identity = enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")
        hub = HubOrigin(port.url, identity, trusted_us=lambda: 0)
        with warnings.catch_warnings(record=True) as said:
            assert b"".join(hub.metadata("timestamp.json"))
    assert [str(one.message) for one in said] == []
