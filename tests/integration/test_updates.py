"""Enrolment and updates over real TLS: a signed repository, the device port, and the updater as a process of its own."""

from __future__ import annotations

import hashlib
import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.installs import MODEL, PASSES, RUNTIMES, offer_of
from tests.samples import Publisher, bundle
from tests.served import DevicePort

from sprat_device.board import identity
from sprat_device.board.clock import SystemClock
from sprat_device.board.enrol import EnrolRefused, enrol
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.settings import DeviceSettings, InstallSettings
from sprat_device.contract.errors import HubUnreachable, MachineLacks
from sprat_device.contract.ids import Digest
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Offer
from sprat_device.install import updater
from sprat_device.install.fetch import Pace, fetch
from sprat_device.install.installer import Installer
from sprat_device.install.origins import HubOrigin, TryLater
from sprat_device.install.record import Install, Records
from sprat_device.install.work import Ports, work

pytestmark = pytest.mark.integration


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def port(tmp_path: Path, publisher: Publisher) -> Iterator[DevicePort]:
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        yield port


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def device(port: DevicePort, state: Path) -> Identity:
    return enrol(port.url, port.token().dump(), state, device="d1")


def ports(state: Path, device: Identity, **more: Any) -> Ports:
    made = updater.ports_of(state, device, DeviceSettings(), runtimes=RUNTIMES)
    return replace(made, **{"check": PASSES, **more})


def released(publisher: Publisher, tmp_path: Path, *, size: int = 700_000) -> Offer:
    file = bundle(tmp_path / "one.sprat", size=size)
    return offer_of(publisher.release(file), file)


def begin(state: Path, offer: Offer) -> Records:
    records = Records(OsFiles(), state)
    records.store(MODEL, Install(Phase.FETCHING, offer, attempts=1))
    return records


# Enrolment


def test_enrolment_pins_what_the_token_names(port: DevicePort, state: Path) -> None:
    found = enrol(port.url, port.token().dump(), state, device="d1")
    assert (found.device, found.channel, found.models) == ("d1", "canary", ("digits",))
    assert found.root.read_bytes() == port.root
    assert stat.S_IMODE(found.key.stat().st_mode) == 0o600
    assert identity.load(state) == found


def test_enrolling_again_keeps_the_key(port: DevicePort, device: Identity, state: Path) -> None:
    before = device.key.read_bytes()
    enrol(port.url, port.token().dump(), state, device="d1")
    assert device.key.read_bytes() == before


@pytest.mark.parametrize("what", ["ca_sha256", "root_sha256"])
def test_a_hub_that_is_not_the_tokens_is_refused(port: DevicePort, state: Path, what: str) -> None:
    token = replace(port.token(), **{what: Digest(hashlib.sha256(b"another").hexdigest())})
    with pytest.raises(EnrolRefused, match="get a new token"):
        enrol(port.url, token.dump(), state)
    assert not state.exists()


def test_a_spent_token_says_so_and_leaves_no_identity(port: DevicePort, state: Path) -> None:
    with pytest.raises(EnrolRefused, match="this token is spent"):
        enrol(port.url, replace(port.token(), secret="other").dump(), state)
    with pytest.raises(MachineLacks, match="enrol"):
        identity.load(state)


def test_no_hub_at_the_address(port: DevicePort, state: Path) -> None:
    with pytest.raises(HubUnreachable):
        enrol("https://127.0.0.1:1", port.token().dump(), state)


# Updates


def test_update_over_tls_stages_and_checks_a_bundle(
    publisher: Publisher, device: Identity, state: Path, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path)
    begin(state, offer)
    done = work(MODEL, ports(state, device))
    assert (done.phase, done.runtime) == (Phase.CHECKED, "litert")
    stored = state / "bundles" / f"{offer.bundle}.sprat"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == offer.bundle


def test_a_download_keeps_the_pace_of_the_settings(
    publisher: Publisher, device: Identity, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(state, released(publisher, tmp_path))
    kept: list[Pace] = []

    def fetched(*given: Any, pace: Pace, **more: Any) -> None:
        kept.append(pace)
        fetch(*given, pace=pace, **more)

    monkeypatch.setattr("sprat_device.install.work.fetch", fetched)
    settings = InstallSettings(minimum_bytes_per_s=7, maximum_bytes_per_s=10**9, total_s=77.0)
    assert work(MODEL, ports(state, device, settings=settings)).phase is Phase.CHECKED
    assert kept == [Pace(7, 77.0, 10**9)]


def test_a_broken_transfer_goes_on_where_it_stopped(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path)
    begin(state, offer)
    port.cut_after = 300_000
    first = work(MODEL, ports(state, device))
    assert (first.phase, first.reason) == (Phase.FETCHING, Reason.UNREACHABLE)
    part = state / "bundles" / f"{offer.bundle}.part"
    held = part.stat().st_size
    assert 0 < held <= 300_000
    assert work(MODEL, ports(state, device)).phase is Phase.FETCHING
    port.cut_after = None
    assert work(MODEL, ports(state, device)).phase is Phase.CHECKED
    ranges = [asked for path, asked in port.requests if offer.bundle in path]
    assert ranges[:2] == ["", f"bytes={held}-"]


def test_a_hub_that_cannot_resume_is_read_from_the_beginning(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path)
    begin(state, offer)
    port.cut_after = 300_000
    work(MODEL, ports(state, device))
    port.cut_after, port.resumes = None, False
    assert work(MODEL, ports(state, device)).phase is Phase.CHECKED


def test_a_tampered_bundle_is_refused_and_nothing_of_it_stays(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path)
    begin(state, offer)
    port.mangle = lambda path, content: content[:-9] + b"x" + content[-8:] if "/targets/" in path else content
    done = work(MODEL, ports(state, device))
    assert (done.phase, done.reason) == (Phase.REFUSED, Reason.HASH_MISMATCH)
    assert list((state / "bundles").iterdir()) == []


def test_no_news_costs_two_requests_and_no_write(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    released(publisher, tmp_path)
    first = ports(state, device)
    first.trust.listed(first.origin, device.channel, MODEL)
    port.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()}
    again = ports(state, device)
    assert len(again.trust.listed(again.origin, device.channel, MODEL)) == 1
    assert [path.rpartition("/")[2] for path, _ in port.requests] == ["2.root.json", "timestamp.json"]
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*") if path.is_file()} == before


def test_a_device_without_a_certificate_gets_nothing(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    stranger = DevicePort(tmp_path / "stranger", port.repository)
    with stranger:
        origin = HubOrigin(stranger.url, device, trusted_us=lambda: 0)
        with pytest.raises(TryLater):
            next(origin.metadata("timestamp.json"))


def test_a_hub_whose_certificate_has_ended_by_trusted_time(port: DevicePort, device: Identity) -> None:
    far = int((datetime.now(UTC) + timedelta(days=30_000)).timestamp() * 1e6)
    with pytest.raises(TryLater, match="ended"):
        next(HubOrigin(port.url, device, trusted_us=lambda: far).metadata("timestamp.json"))
    assert next(HubOrigin(port.url, device, trusted_us=lambda: 0).metadata("timestamp.json"))


# Processes


def test_the_updater_is_a_child_of_the_agent(
    publisher: Publisher, device: Identity, state: Path, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path, size=5000)
    settings = InstallSettings(probation_predictions=4)
    installer = Installer(state, OsFiles(), SystemClock(), settings, device, runtimes=RUNTIMES)
    installer.boot()
    installer.offer(MODEL, offer)
    until = time.monotonic() + 60
    while (install := installer.reports()[MODEL][2]).phase is not Phase.REFUSED:
        assert time.monotonic() < until, install
        installer.tick()
        assert installer.active(MODEL) is None
        time.sleep(0.02)
    installer.stop()
    # The sample's artifact is no model: the device's own check program has tried it and says so.
    assert install.reason == Reason.NOT_LOADED
    assert "litert" in install.detail
    codes = [code for code, _ in installer.events()]
    assert (codes[0], codes[-1]) == ("install-fetching", "install-refused")


def test_a_newer_offer_ends_the_updater_that_works_on_the_older(
    publisher: Publisher, port: DevicePort, device: Identity, state: Path, tmp_path: Path
) -> None:
    older = released(publisher, tmp_path)
    second = bundle(tmp_path / "two.sprat", fill=b"two")
    newer = offer_of(publisher.release(second), second)
    port.cut_after = 1000  # the older one never becomes whole
    installer = Installer(state, OsFiles(), SystemClock(), InstallSettings(), device, runtimes=RUNTIMES)
    installer.boot()
    installer.offer(MODEL, older)
    installer.tick()
    installer.offer(MODEL, newer)
    assert Records(OsFiles(), state).load(MODEL).offer == newer
    installer.stop()


def test_a_second_updater_leaves_the_first_alone(device: Identity, state: Path) -> None:
    with updater.locked(OsFiles(), state) as mine:
        assert mine
        arguments = ["--state", str(state), "--model", MODEL, "--runtimes", json.dumps(RUNTIMES)]
        command = [sys.executable, "-m", "sprat_device.install.updater", *arguments]
        child = subprocess.run(command, check=False, timeout=60)
    assert child.returncode == updater.BUSY


@pytest.mark.parametrize("case", [(["--model", "digits"], 1), (["--model", "digits"], 40_000), ([], 1), ([], 40_000)])
def test_an_updater_without_memory_says_so_and_leaves_what_it_had(
    publisher: Publisher, device: Identity, state: Path, tmp_path: Path, case: tuple[list[str], int]
) -> None:
    model, kib = case
    offer = released(publisher, tmp_path)
    records = begin(state, offer)
    (state / "sprat.toml").write_text(f"[install]\nupdater_memory_kib = {kib}\n")
    command = [sys.executable, "-m", "sprat_device.install.updater", "--state", str(state), "--runtimes", "{}", *model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # The X.509 library ends its process by SIGABRT where it gets no memory; Python and OpenSSL say so.
    assert (done.returncode, "out of memory" in done.stderr) in ((137, True), (-signal.SIGABRT, False)), done.stderr
    assert records.load(MODEL) == Install(Phase.FETCHING, offer, attempts=1)


def test_the_check_is_not_bound_by_the_updaters_limit(tmp_path: Path) -> None:
    code = (
        "import resource, subprocess, sys; from sprat_device.install.bounds import limit_memory, unlimited\n"
        "limit_memory(200_000)\n"
        "tell = [sys.executable, '-c', 'import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])']\n"
        "subprocess.run(tell, check=True)\n"
        "with unlimited(): subprocess.run(tell, check=True)\n"
        "subprocess.run(tell, check=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["204800000", "-1", "204800000"]
