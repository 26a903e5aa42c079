"""What an operator does at the device: an install from a stick, `status`, `defer`."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.installs import MODEL, RUNTIMES, Board, offer_of
from tests.samples import Publisher, bundle
from tests.served import DevicePort

from sprat_device import __main__ as entry
from sprat_device import status
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity, store
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed, InstallReport, LaneReport, ModelReport, Reported
from sprat_device.install import updater
from sprat_device.install.offline import install_copy
from sprat_device.install.record import OFFLINE, Install, Records

pytestmark = pytest.mark.integration


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def device(tmp_path: Path, publisher: Publisher) -> Iterator[Identity]:
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        yield enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")


@pytest.fixture(autouse=True)
def good_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater, "CHECK", ("/bin/sh", "-c", 'echo \'{"ok": true, "latency_us": {}}\'', "check"))


def stick(publisher: Publisher, tmp_path: Path, *fills: bytes) -> Path:
    for fill in fills:
        publisher.release(bundle(tmp_path / f"{fill.decode()}.sprat", fill=fill))
    shutil.copytree(publisher.folder / "repository", tmp_path / "stick", dirs_exist_ok=True)
    return tmp_path / "stick"


def install(tmp_path: Path, **more: float) -> dict[str, str]:
    return install_copy(tmp_path / "state", tmp_path / "stick", runtimes=RUNTIMES, **more)


def test_the_newest_release_is_staged_and_the_operator_hears_what_comes_next(
    publisher: Publisher, device: Identity, tmp_path: Path
) -> None:
    stick(publisher, tmp_path, b"one", b"two")
    assert install(tmp_path) == {
        "digits": "release 2 is checked; no agent runs here, it takes it into trial when it starts"
    }
    record = Records(OsFiles(), tmp_path / "state").load(MODEL)
    assert (record.phase, record.report().rollout) == (Phase.CHECKED, OFFLINE)


def test_it_says_that_a_window_is_waited_for(publisher: Publisher, device: Identity, tmp_path: Path) -> None:
    (tmp_path / "state/sprat.toml").write_text('clock = "unsynchronised"\n[install]\nwindows = ["mon 01:00-02:00"]\n')
    stick(publisher, tmp_path, b"one")
    with (tmp_path / "state/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (said,) = install(tmp_path).values()
    assert said.startswith("release 1 is checked; the agent takes it into trial later: ")
    assert said.endswith("the clock is not synchronised")


def test_a_look_of_the_agent_is_waited_for(publisher: Publisher, device: Identity, tmp_path: Path) -> None:
    stick(publisher, tmp_path, b"one")
    folder = tmp_path / "state/installs"
    folder.mkdir()
    lock = (folder / "updater.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(MachineLacks, match="sprat-device status"):
        install(tmp_path, wait_s=0.3)
    threading.Timer(0.5, lock.close).start()
    assert "is checked" in install(tmp_path)["digits"]


def test_a_stick_without_anything_for_this_device_is_refused(
    publisher: Publisher, device: Identity, tmp_path: Path
) -> None:
    stick(publisher, tmp_path)
    with pytest.raises(BundleRefused, match="not-listed"):
        install(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match="a lone bundle is not signed"):
        install_copy(tmp_path / "state", tmp_path / "empty", runtimes=RUNTIMES)


def test_one_model_without_a_release_does_not_keep_another_from_its_own(
    publisher: Publisher, device: Identity, tmp_path: Path
) -> None:
    store(replace(device, models=(ModelName("gait"), MODEL)), OsFiles())
    stick(publisher, tmp_path, b"one")
    done = install(tmp_path)
    assert done["gait"].startswith("nothing for it in")
    assert done["digits"].startswith("release 1 is checked")


def test_a_later_release_from_a_stick_is_not_undone_by_an_earlier_offer(tmp_path: Path, publisher: Publisher) -> None:
    file = bundle(tmp_path / "one.sprat")
    older = offer_of(publisher.release(file), file)
    other = bundle(tmp_path / "two.sprat", fill=b"two")
    newer = replace(offer_of(publisher.release(other), other), rollout=OFFLINE)
    board = Board(tmp_path / "state", publisher)
    board.clock.jump((datetime.now(UTC) - datetime.fromtimestamp(board.clock.wall_us() / 1e6, UTC)).total_seconds())
    board.installer.boot()
    board.installer.offer(MODEL, newer)
    board.run_until_trial()
    board.installer.offer(MODEL, older)  # as at every start: the twin's last word
    assert (board.record.phase, board.record.offer) == (Phase.TRIAL, newer)
    board.predict(4, ok=False)
    board.installer.tick()
    assert board.record.phase is Phase.REVERTED
    board.installer.offer(MODEL, older)  # the stick's release was no good: the hub's word counts again
    board.run_until_trial()
    assert (board.record.phase, board.record.offer) == (Phase.TRIAL, older)


# status and defer


def reported(**changes: object) -> Reported:
    model = ModelReport(
        Installed("a" * 64, 7), Installed("b" * 64, 6),
        InstallReport(Phase.CHECKED, 8, "c" * 64, "r", Reason.OUTSIDE_WINDOW, "window of the hub opens 02:00", 1),
        running="a" * 64, healthy=1500, errors=2,
    )  # fmt: skip
    lanes = {
        "events": LaneReport("0" * 16, 5, 5, 0, 0, 0, 0),
        "predictions": LaneReport("0" * 16, 99, 50, 30, 9, 10, 0),
    }
    made = Reported(4, agent="0.1.0", clock="synchronised", channel="canary", models={"digits": model}, ledger=lanes)
    return replace(made, **changes)  # type: ignore[arg-type]


def told(state: Path, report: Reported) -> str:
    (state / "status.json").write_bytes(report.dump())
    return "\n".join(status.lines(status.read(state)))


def test_status_tells_at_night_what_is_wrong(device: Identity, tmp_path: Path) -> None:
    state = tmp_path / "state"
    text = told(state, reported())
    ends = (datetime.now(UTC) + timedelta(days=730)).year
    for expected in (
        "d1: the agent DOES NOT RUN; agent 0.1.0, channel canary, clock synchronised, reported just now",
        f"certificate: good until {ends}-",
        "digits: release 7 (aaaaaaaaaaaa) answered; 1500 predictions, 2 errors since it was loaded, release 6 is spare",
        "last install: release 8 is checked: outside-window, window of the hub opens 02:00; floor 0",
        "39 records wait for the hub",
        "predictions: produced 99, acked 50, spooled 30, open 9, evicted 10, damaged 0  LOST SOME",
    ):
        assert expected in text
    assert "events: produced 5, acked 5, spooled 0, open 0, evicted 0, damaged 0\n" in text
    silent = replace(reported().models["digits"], running="")
    assert "is active, and did NOT answer" in told(state, reported(models={"digits": silent}))
    empty = ModelReport()
    assert "digits: no bundle answers" in told(state, reported(models={"digits": empty}))
    device.certificate.write_bytes(b"damaged")
    assert "certificate: CANNOT BE READ; enrol this device again" in told(state, reported())


def test_defer_is_a_command_and_status_tells_it(
    device: Identity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(tmp_path / "state")]
    assert entry.main(["defer", "8", *state]) == 0
    assert capsys.readouterr().out == "no trial begins within the next 8 h\n"
    assert "trials are put off for 8 h more; sprat-device defer 0 ends that" in told(tmp_path / "state", reported())
    assert entry.main(["defer", "0", *state, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"hours": 0}
    assert "put off" not in told(tmp_path / "state", reported())
    for hours in ("-1", "721", "nan"):
        assert entry.main(["defer", hours, *state]) == 2


def test_an_install_record_of_an_earlier_agent_is_read(tmp_path: Path) -> None:
    records = Records(OsFiles(), tmp_path)
    records.store(MODEL, Install(Phase.CONFIRMED))
    path = tmp_path / "installs/digits.json"
    old = json.loads(path.read_bytes())
    del old["failures"]
    for name in ("growth_kib", "limit_kib", "weighings", "heavy"):
        del old["probation"][name]
    path.write_text(json.dumps(old))
    assert records.load(MODEL) == Install(Phase.CONFIRMED)
