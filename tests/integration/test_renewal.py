"""Certificates that renew themselves: the hub's rules over a real device port, the device's side cut at every write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.clock import ManualClock
from tests.faults.disk import CuttingFiles, Loss, PowerCut
from tests.installs import MODEL, RUNTIMES, Board, offer_of
from tests.samples import Publisher, bundle
from tests.served import DevicePort

from sprat_device.board import certificates
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.settings import DeviceSettings
from sprat_device.contract import renewal
from sprat_device.contract.errors import HubUnreachable, MachineLacks
from sprat_device.contract.twin import Desired
from sprat_device.install import updater
from sprat_device.install.look_record import load
from sprat_device.install.looks import Looks
from sprat_device.install.origins import HubOrigin, HubRefused, TryLater
from sprat_device.install.renewal import renew

pytestmark = pytest.mark.integration
DAY_US = 86_400_000_000


@pytest.fixture(autouse=True)
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the updater is run in this process, which its limit of memory would outlast; that is tested on a child."""
    monkeypatch.setattr(updater, "limit_memory", lambda _kib: None)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[DevicePort]:
    with DevicePort(tmp_path / "port", Publisher(tmp_path / "publisher").folder / "repository") as port:
        yield port


@pytest.fixture
def device(port: DevicePort, tmp_path: Path) -> Identity:
    return enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")


def hub(port: DevicePort, device: Identity) -> HubOrigin:
    return HubOrigin(port.url, device, trusted_us=lambda: 0)


def life(device: Identity) -> certificates.Life:
    return certificates.life_of(device.certificate.read_bytes())


def when_due(device: Identity) -> int:
    present = life(device)
    return present.begins_us + (present.ends_us - present.begins_us) * 2 // 3 + 1


def test_it_is_renewed_after_two_thirds_of_its_life_and_not_before(port: DevicePort, device: Identity) -> None:
    before, key = device.certificate.read_bytes(), device.key.read_bytes()
    assert renew(device, hub(port, device), files=OsFiles(), now_us=when_due(device) - 2) is None
    assert not [path for path, _ in port.requests if path == renewal.RENEW_PATH]
    port.issues_at = datetime.fromtimestamp(when_due(device) / 1e6, UTC)
    ends = renew(device, hub(port, device), files=OsFiles(), now_us=when_due(device))
    assert ends == life(device).ends_us
    assert device.certificate.read_bytes() != before
    assert device.key.read_bytes() == key
    assert next(hub(port, device).metadata("timestamp.json"))  # the new one is good for what the old one was


def test_a_hub_that_thinks_it_is_too_early_changes_nothing(port: DevicePort, device: Identity) -> None:
    before = device.certificate.read_bytes()
    port.issues_at = datetime.now(UTC) - timedelta(days=30)
    assert renew(device, hub(port, device), files=OsFiles(), now_us=when_due(device)) is None
    assert device.certificate.read_bytes() == before


@pytest.mark.parametrize("name", ["d2", ""])
def test_a_certificate_that_is_not_ours_is_not_kept(port: DevicePort, device: Identity, name: str) -> None:
    before = device.certificate.read_bytes()
    port.renews_as = name
    with pytest.raises(HubUnreachable, match=r"not this device's|PEM"):
        renew(device, hub(port, device), files=OsFiles(), now_us=when_due(device))
    assert device.certificate.read_bytes() == before


def test_a_damaged_certificate_names_the_remedy(port: DevicePort, device: Identity) -> None:
    origin = hub(port, device)
    device.certificate.write_bytes(b"damaged")
    with pytest.raises(MachineLacks, match="enrol this device again"):
        renew(device, origin, files=OsFiles(), now_us=0)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_power_cut_leaves_the_old_certificate_or_the_new_one(port: DevicePort, tmp_path: Path, loss: Loss) -> None:
    device = enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")
    now_us = when_due(device)
    port.issues_at = datetime.fromtimestamp(now_us / 1e6, UTC)
    kept = tmp_path / "kept"
    shutil.copytree(device.folder, kept)
    counting = CuttingFiles()
    renew(device, hub(port, device), files=counting, now_us=now_us)
    assert counting.operations >= 3
    for cut_at in range(1, counting.operations + 1):
        shutil.rmtree(device.folder)
        shutil.copytree(kept, device.folder)
        with pytest.raises(PowerCut):
            renew(device, hub(port, device), files=CuttingFiles(cut_at, loss=loss), now_us=now_us)
        assert next(hub(port, device).metadata("timestamp.json"))  # TLS loads what is there, and the hub takes it
        renew(device, hub(port, device), files=OsFiles(), now_us=now_us)
        assert life(device).ends_us > certificates.life_of((kept / "device.crt").read_bytes()).ends_us


# The look


def ports_of(tmp_path: Path, device: Identity) -> updater.Ports:
    return updater.ports_of(tmp_path / "state", device, DeviceSettings(), runtimes=RUNTIMES)


def test_a_look_renews_refreshes_and_asks_in_a_process_of_its_own(
    port: DevicePort, device: Identity, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    port.desired = Desired("hub", 7).dump()
    assert updater.main(["--state", str(state), "--runtimes", json.dumps(RUNTIMES)]) == 0
    found = load(state, OsFiles())
    assert found is not None
    assert (found.wanted(), found.reason, found.certificate_ends_us) == (Desired("hub", 7), "", 0)
    assert (state / "floors.a").exists()  # what is signed has moved trusted time
    written = (state / "look.json").stat().st_mtime_ns
    assert updater.main(["--state", str(state), "--runtimes", json.dumps(RUNTIMES)]) == 0
    assert (state / "look.json").stat().st_mtime_ns == written


def test_a_look_tells_a_frozen_repository_and_still_hears_the_hub(
    port: DevicePort, device: Identity, tmp_path: Path
) -> None:
    port.desired = Desired("hub", 8).dump()
    port.mangle = lambda path, content: content.replace(b"expires", b"expirez") if "timestamp" in path else content
    assert updater.run(tmp_path / "state", None, RUNTIMES) == 0
    found = load(tmp_path / "state", OsFiles())
    assert found is not None
    assert (found.reason, found.wanted()) == ("signature", Desired("hub", 8))


def test_a_hub_that_is_away_is_an_exit_code(port: DevicePort, device: Identity, tmp_path: Path) -> None:
    settings = ["--state", str(tmp_path / "state"), "--runtimes", "{}"]
    (tmp_path / "state" / "sprat.toml").write_text('[hub]\nurl = "https://127.0.0.1:1"\n')
    assert updater.main(settings) == 3
    assert load(tmp_path / "state", OsFiles()) is None


def test_an_earlier_hub_without_these_routes_is_no_failure(port: DevicePort, device: Identity, tmp_path: Path) -> None:
    port.routes_of_today = False
    expired = replace(device, folder=device.folder)
    with pytest.raises(TryLater):
        renew(expired, hub(port, device), files=OsFiles(), now_us=when_due(device))
    assert updater.run(tmp_path / "state", None, RUNTIMES) == 0
    found = load(tmp_path / "state", OsFiles())
    assert found is not None
    assert found.wanted() is None


def test_a_refusal_says_the_hubs_own_sentence(port: DevicePort, device: Identity) -> None:
    port.refuses_renewal = True
    with pytest.raises(HubRefused, match="not valid here any more"):
        renew(device, hub(port, device), files=OsFiles(), now_us=when_due(device))


# The timer


def board_looks(tmp_path: Path, jitter: float) -> tuple[Looks, ManualClock]:
    clock = ManualClock()
    return Looks(tmp_path, OsFiles(), clock, every_s=3600, jitter=lambda: jitter), clock


@pytest.mark.parametrize(("jitter", "first", "second"), [(0.0, 0, 1800), (0.5, 150, 3600), (1.0, 300, 5400)])
def test_looks_come_with_jitter_and_for_ever(tmp_path: Path, jitter: float, first: int, second: int) -> None:
    looks, clock = board_looks(tmp_path, jitter)
    if first:
        clock.advance(first - 1)
        assert not looks.due()
        clock.advance(1)
    assert looks.due()
    clock.jump(-40 * 365 * 86_400)  # the wall clock has nothing to say in this
    assert looks.ended(0) == []
    clock.advance(second - 1)
    assert not looks.due()
    clock.advance(1)
    assert looks.due()


def test_a_hub_that_stays_away_is_one_event(tmp_path: Path) -> None:
    looks, _ = board_looks(tmp_path, 0.5)
    assert [looks.ended(code) for code in (3, 3, 75, 3)] == [[("look-failed", {"code": 3})], [], [], []]
    assert looks.ended(0) == []
    assert looks.ended(3) == [("look-failed", {"code": 3})]


def test_what_a_look_found_is_told_once(tmp_path: Path) -> None:
    from sprat_device.install.look_record import Look, store

    looks, _ = board_looks(tmp_path, 0.5)
    found = Look(Desired("hub", 3).dump().decode(), DAY_US * 21_000, "", "metadata-expired", "timestamp ended")
    store(found, tmp_path, OsFiles())
    assert looks.ended(0) == [
        ("certificate-renewed", {"ends": "2027-07-01"}),
        ("metadata-refused", {"reason": "metadata-expired", "detail": "timestamp ended"}),
    ]
    assert looks.desired() == Desired("hub", 3)
    assert looks.desired() is None
    assert looks.ended(0) == []
    store(replace(found, desired='{"schema":"sprat.desired/9"}'), tmp_path, OsFiles())
    assert looks.ended(0) == []
    assert looks.desired() is None  # of a later hub: unread, as over the broker


def test_the_installer_looks_when_nothing_is_offered_and_an_offer_goes_first(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    file = bundle(tmp_path / "one.sprat")
    board = Board(tmp_path / "state", publisher)
    board.installer.boot()
    board.installer.tick()
    assert board.looks == 0
    board.clock.advance(301)
    board.installer.offer(MODEL, offer_of(publisher.release(file), file))
    board.installer.tick()
    assert (board.looks, board.record.phase) == (0, "checked")
    board.installer.tick()
    board.installer.tick()
    assert board.looks == 1


def test_a_device_certificate_says_what_it_is(device: Identity) -> None:
    parsed = x509.load_pem_x509_certificate(device.certificate.read_bytes())
    assert life(device).ends_us == int(parsed.not_valid_after_utc.timestamp() * 1e6)
