"""The agent on a board: a real wheelhouse, real environments, a real agent; systemd is a program that starts it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.boards import QUICK, FakeBoard, agent, install, one_line, told
from tests.houses import PYTHON, Edit, broken_entry, broken_runtime, build_house, in_run, unchanged, variant
from tests.samples import Publisher
from tests.served import DevicePort

from sprat_device.contract import wheelhouse
from sprat_device.contract.ids import Digest
from sprat_device.contract.wheelhouse import MANIFEST

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("boards")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheelhouse for this machine."""
    return build_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevicePort]:
    """A hub's device port."""
    folder = tmp_path_factory.mktemp("port")
    Publisher(folder / "publisher")
    with DevicePort(folder, folder / "publisher" / "repository") as serving:
        yield serving


@pytest.fixture
def board(tmp_path: Path) -> Iterator[FakeBoard]:
    """A fresh board."""
    made = FakeBoard(tmp_path / "board")
    yield made
    made.end()


def environments(board: FakeBoard) -> list[str]:
    return sorted(folder.name for folder in (board.root / "opt/sprat/envs").iterdir())


ENDS_SOON = (
    "told = state / 'status.json'; before = told.stat().st_mtime_ns; pause = threading.Event().wait; "
    "threading.Thread(target=lambda: [pause(0.1) for _ in iter(lambda: told.stat().st_mtime_ns == before, False)] "
    "and pause(3) or os._exit(1)).start()"
)
"""An agent that ends three seconds after its first word."""


def joining(port: DevicePort, device: str = "kitchen") -> tuple[str, ...]:
    return ("--hub", port.url, "--token", port.token().dump(), "--device", device)


def test_from_a_stick_to_an_agent_that_runs_and_once_more_changes_nothing(
    board: FakeBoard, house: Path, port: DevicePort
) -> None:
    digest = hashlib.sha256((house / MANIFEST).read_bytes()).hexdigest()
    agent_version = wheelhouse.parse((house / MANIFEST).read_bytes()).agent
    half_made = board.root / "opt/sprat/envs" / f"{agent_version}-{digest[:12]}" / "bin" / "python"
    half_made.parent.mkdir(parents=True)
    half_made.touch()  # what a power cut leaves: no mark, so it is made anew
    done = install(board, house, *joining(port), "--json")
    assert done.returncode == 0, done.stderr + board.journal
    assert json.loads(done.stdout)["device"] == "kitchen"
    assert board.runs().startswith(f"{board.current}/bin/python ")
    assert board.runs().endswith(f" -m sprat_device run --state {board.state}")
    assert (board.folder / "enabled").exists()
    assert json.loads((board.state / "identity/identity.json").read_text())["device"] == "kitchen"
    version = told(board, str(board.root / "usr/local/bin/sprat-device"), "--version")
    assert version.stdout == f"sprat-device {json.loads(done.stdout)['agent']}\n"
    assert not (board.current / "lib" / f"python{PYTHON}" / "site-packages" / "pip").exists()
    pid, before = board.pid, {name: (board.root / name).read_bytes() for name in sorted(made_files(board))}
    again = install(board, house, *joining(port), "--json")
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert board.pid == pid, "an agent that runs is not started again"
    assert {name: (board.root / name).read_bytes() for name in sorted(made_files(board))} == before
    (useradd,) = [call for call in board.calls if call.startswith("useradd")]
    assert f"--system --user-group --no-create-home --home-dir {board.state}" in useradd

    camera = install(board, house, "--memory-max-mib", "96", "--open", "char-video4linux", "--group", "video")
    assert camera.returncode == 0, camera.stderr + board.journal
    unit = (board.root / "etc/systemd/system/sprat-device.service").read_text()
    assert "\nMemoryMax=96M\n" in unit
    assert "\nDeviceAllow=char-video4linux rw\n" in unit
    assert board.pid != pid, "another unit needs another start"
    assert install(board, house).returncode == 0
    assert (board.root / "etc/systemd/system/sprat-device.service").read_text() == unit, "what was chosen stays"
    assert "cannot stand in a unit" in one_line(install(board, house, "--open", "a b"), 2)

    removed = agent(board, "remove", "--json")
    assert removed.returncode == 0, removed.stderr
    assert json.loads(removed.stdout)["device"] == "kitchen"
    assert board.runs() == ""
    assert board.files() == set()
    assert (board.root / "etc/passwd").read_text() == ""


def made_files(board: FakeBoard) -> set[str]:
    """Return the files of a board that only set-up writes."""
    changing = ("spool", "status", "reported", "lock", "tuf", "floors", "look", "tmp", ".")
    agents = tuple(f"var/lib/sprat/{name}" for name in changing)
    return {name for name in board.files() if not name.startswith(agents) and (board.root / name).is_file()}


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, house: Path, port: DevicePort) -> Iterator[FakeBoard]:
    """A board whose agent runs; tests that upgrade it leave it as it was or say so."""
    made = FakeBoard(tmp_path_factory.mktemp("settled") / "board")
    done = install(made, house, *joining(port))
    assert done.returncode == 0, done.stderr + made.journal
    yield made
    made.end()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (broken_entry, "does not start: a broken build"),
        (broken_runtime, "lacks something: this processor is too old"),
    ],
)
def test_a_new_agent_that_cannot_run_here_is_never_tried(
    settled: FakeBoard, house: Path, tmp_path: Path, edit: Edit, said: str
) -> None:
    pid, before = settled.pid, settled.current.resolve()
    broken = variant(house, tmp_path / "w", "0.9.0", edit)
    done = agent(settled, "upgrade", "--wheelhouse", str(broken), *QUICK)
    assert f"broken-agent: the new agent {said}" in one_line(done, 1)
    assert (settled.pid, settled.current.resolve()) == (pid, before)
    assert [name for name in environments(settled) if name.startswith("0.9.")] == []


@pytest.mark.parametrize(
    ("line", "patience", "why"),
    [
        ("raise SystemExit(3)", "--start-s 3 --settle-s 1", "it told nothing within 3 s"),
        (ENDS_SOON, "--start-s 90 --settle-s 8", "it ended within 8 s"),
    ],
)
def test_a_new_agent_that_is_not_well_gives_way_to_the_old_one(
    settled: FakeBoard, house: Path, tmp_path: Path, *, line: str, patience: str, why: str
) -> None:
    before = settled.current.resolve()
    unit = (settled.root / "etc/systemd/system/sprat-device.service").read_text()
    broken = variant(house, tmp_path / "w", "0.9.1", in_run(line))
    done = agent(settled, "upgrade", "--wheelhouse", str(broken), *patience.split())
    said = one_line(done, 1)
    assert said.startswith(f"not-well: the new agent is not kept: {why}")
    assert "journalctl" in said
    assert settled.current.resolve() == before
    assert settled.runs().startswith(f"{settled.current}/bin/python ")
    assert [name for name in environments(settled) if name.startswith("0.9.")] == []
    assert not list((settled.root / "run").rglob("*.conf"))
    assert (settled.root / "etc/systemd/system/sprat-device.service").read_text() == unit
    assert json.loads((settled.state / "status.json").read_text())["agent"] != "0.9.1"


def test_a_power_cut_during_a_trial_boots_the_old_agent_and_a_good_one_takes_over_later(
    settled: FakeBoard, house: Path, tmp_path: Path
) -> None:
    before = settled.current.resolve()
    broken = variant(house, tmp_path / "w", "0.9.2", in_run("raise SystemExit(3)"))
    command = [str(settled.root / "usr/local/bin/sprat-device"), "board", "upgrade", "--root", str(settled.root)]
    process = subprocess.Popen(
        [*command, "--wheelhouse", str(broken)], env=settled.environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "trying agent" not in process.stderr.readline():
        assert process.poll() is None
    while not list((settled.root / "run").rglob("trial.conf")):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)  # with a systemctl that it may have begun
    process.wait()
    process.stderr.close()
    shutil.rmtree(settled.root / "run")  # memory, which a boot begins anew
    for verb in ("daemon-reload", "restart"):
        told(settled, "systemctl", verb, "sprat-device.service")
    assert settled.current.resolve() == before
    assert settled.runs().startswith(f"{settled.current}/bin/python ")

    # And a good one takes over.
    identity = (settled.state / "identity/device.key").read_bytes()
    good = variant(house, tmp_path / "good", "1.2.3", unchanged)
    done = agent(settled, "upgrade", "--wheelhouse", str(good), *QUICK, "--json")
    assert done.returncode == 0, done.stderr + settled.journal
    found = json.loads(done.stdout)
    assert (found["agent"], found["upgraded_from"]) == ("1.2.3", before.name)
    assert settled.current.resolve().name == found["environment"]
    assert json.loads((settled.state / "status.json").read_text())["agent"] == "1.2.3"
    assert set(environments(settled)) == {before.name, found["environment"]}, "what the power cut left is gone too"
    assert (settled.state / "identity/device.key").read_bytes() == identity
    pid = settled.pid
    again = agent(settled, "upgrade", "--wheelhouse", str(good), *QUICK)
    assert "nothing to do" in again.stdout
    assert settled.pid == pid


def test_a_terminal_that_is_lost_during_a_trial_ends_in_the_way_back(
    settled: FakeBoard, house: Path, tmp_path: Path
) -> None:
    before = settled.current.resolve()
    slow = variant(house, tmp_path / "w", "0.9.4", in_run("threading.Event().wait(60)"))
    command = [str(settled.root / "usr/local/bin/sprat-device"), "board", "upgrade", "--root", str(settled.root)]
    process = subprocess.Popen(
        [*command, "--wheelhouse", str(slow), *QUICK], env=settled.environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "trying agent" not in process.stderr.readline():
        assert process.poll() is None
    while "0.9.4" not in settled.runs():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    said = process.communicate(timeout=400)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "sprat-device: interrupted"
    assert settled.runs().startswith(f"{settled.current}/bin/python ")
    assert settled.current.resolve() == before
    assert [name for name in environments(settled) if name.startswith("0.9.4")] == []


def test_the_same_id_comes_back_with_a_new_key_and_a_refusal_changes_nothing(
    settled: FakeBoard, port: DevicePort
) -> None:
    key, device = settled.state / "identity/device.key", json.loads((settled.state / "status.json").read_text())
    before = {path.name: path.read_bytes() for path in key.parent.iterdir()}
    spent = replace(port.token(), secret="spent").dump()
    refused = agent(settled, "replace", "--hub", port.url, "--token", spent, *QUICK)
    assert "not-enrolled: " in one_line(refused, 1)
    assert "this token is spent" in refused.stderr
    assert {path.name: path.read_bytes() for path in key.parent.iterdir()} == before
    assert not (settled.state / "replacement").exists()
    assert device
    done = agent(settled, "replace", *joining(port), *QUICK, "--json")
    assert done.returncode == 0, done.stderr + settled.journal
    assert json.loads(done.stdout) == {"device": "kitchen"}
    assert key.read_bytes() != before["device.key"]
    assert (settled.state / "spool").exists(), "what the same device had to tell is still told"
    assert not list(settled.state.glob("identity.old")) + list(settled.state.glob("replacement"))
    assert settled.runs()


def test_another_id_does_not_inherit_what_the_old_one_had_to_tell(settled: FakeBoard, port: DevicePort) -> None:
    (settled.state / "spool" / "of-the-old-id").touch()
    done = agent(settled, "replace", *joining(port, "cellar"), *QUICK)
    assert done.returncode == 0, done.stderr + settled.journal
    assert json.loads((settled.state / "identity/identity.json").read_text())["device"] == "cellar"
    assert not (settled.state / "spool" / "of-the-old-id").exists()


def test_remove_may_leave_the_state_and_its_user(settled: FakeBoard, house: Path, port: DevicePort) -> None:
    device = json.loads((settled.state / "identity/identity.json").read_text())["device"]
    done = agent(settled, "remove", "--keep-state")
    assert done.returncode == 0, done.stderr
    left = settled.files() - {"run/sprat-board.lock"}
    assert {name.split("/")[0] for name in left} == {"var"}
    assert (settled.state / "identity/device.key").exists()
    assert "sprat:" in (settled.root / "etc/passwd").read_text()
    back = install(settled, house)
    assert back.returncode == 0, back.stderr + settled.journal
    assert f"{device} runs agent" in back.stdout


# What goes wrong: one line, and nothing half-made.


def test_a_tampered_wheel_is_refused_before_pip_sees_it(board: FakeBoard, house: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(house, tmp_path / "w"))
    wheel = next((bad / "wheels").glob("numpy-*.whl"))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    said = one_line(install(board, bad), 1)
    assert said.startswith("tampered: ")
    assert wheel.name in said
    assert (board.files(), board.calls) == (set(), [])


def test_a_tampered_agent_is_refused_before_it_is_run(board: FakeBoard, house: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(house, tmp_path / "w"))
    wheel = next((bad / "wheels").glob("sprat_device-*.whl"))
    with zipfile.ZipFile(wheel, "a") as held:
        held.writestr("more.py", "")
    assert "the manifest says" in one_line(install(board, bad), 4)
    wheel.unlink()
    assert "not a whole wheelhouse" in one_line(install(board, bad), 4)
    assert board.files() == set()


def test_another_manifest_than_the_operator_expects_is_refused(board: FakeBoard, house: Path) -> None:
    assert one_line(install(board, house, "--sha256", "0" * 64), 1).startswith("tampered: ")
    assert board.files() == set()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--hub", "https://127.0.0.1:1"), 2, "--hub and --token go together"),
        (("--hub", "https://127.0.0.1:1", "--token", "sprat1.x"), 2, "enrolment token: damaged; copy it whole"),
        (("--hub", "http://127.0.0.1:1", "--token", "sprat1.x"), 2, "expected https://HOST:PORT"),
    ],
)
def test_a_slip_costs_nothing(board: FakeBoard, house: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert said in one_line(install(board, house, *arguments), code)
    assert (board.files(), board.calls) == (set(), [])


def test_a_refused_token_leaves_the_board_as_it_was(board: FakeBoard, house: Path, port: DevicePort) -> None:
    spent = replace(port.token(), secret="spent").dump()
    done = install(board, house, "--hub", port.url, "--token", spent)
    assert one_line(done, 1).startswith("not-enrolled: ")
    assert board.files() == set()
    assert not (board.root / "opt/sprat").exists()
    assert (board.root / "etc/passwd").read_text() == ""
    assert not (board.folder / "enabled").exists()


def test_a_unit_that_systemd_refuses_leaves_the_board_as_it_was(board: FakeBoard, house: Path) -> None:
    (board.folder / "refuse-enable").touch()
    assert "systemctl enable" in one_line(install(board, house), 4)
    assert board.files() == set()


def test_a_hub_that_is_away_or_another_costs_nothing(board: FakeBoard, house: Path, port: DevicePort) -> None:
    away = ("--hub", "https://127.0.0.1:9", "--token", port.token().dump())
    assert "no answer" in one_line(install(board, house, *away), 3)
    other = replace(port.token(), ca_sha256=Digest("0" * 64)).dump()
    assert "not the hub that made the token" in one_line(install(board, house, "--hub", port.url, "--token", other), 1)
    assert (board.files(), board.calls) == (set(), [])


def test_a_32_bit_board_is_told_what_debian_must_bring(board: FakeBoard, house: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(house, tmp_path / "w"))
    manifest = wheelhouse.parse((other / MANIFEST).read_bytes())
    (other / MANIFEST).write_bytes(replace(manifest, debian=("python3-numpy", "python3-msgpack")).dump())
    said = one_line(install(board, other), 4)
    assert said.startswith("this board lacks Debian's python3-msgpack python3-numpy; apt-get install")
    assert board.files() == set()
    right = hashlib.sha256((other / MANIFEST).read_bytes()).hexdigest()
    done = install(board, other, "--apt", "--sha256", right.upper())
    assert "no identity yet" in done.stdout, done.stderr
    assert board.runs() == "", "without an identity nothing is started"
    assert "apt-get install -y -qq --no-install-recommends python3-msgpack python3-numpy" in board.calls
    assert "include-system-site-packages = true" in (board.current / "pyvenv.cfg").read_text()


def test_a_wheelhouse_for_another_machine_is_refused(board: FakeBoard, house: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(house, tmp_path / "w"))
    manifest = wheelhouse.parse((other / MANIFEST).read_bytes())
    (other / MANIFEST).write_bytes(replace(manifest, arch=("armv7l",)).dump())
    assert one_line(install(board, other), 1).startswith("wrong-arch: ")
    (other / MANIFEST).write_bytes(replace(manifest, python="3.99").dump())
    assert f"this board has Python {PYTHON}, the wheelhouse is for 3.99" in one_line(install(board, other), 4)
    assert board.files() == set()


def test_a_full_disk_is_known_beforehand(board: FakeBoard, house: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(house, tmp_path / "w"))
    manifest = wheelhouse.parse((other / MANIFEST).read_bytes())
    (other / MANIFEST).write_bytes(replace(manifest, installed_bytes=2**60).dump())
    assert "MB are free, the agent needs" in one_line(install(board, other), 4)
    assert board.files() == set()


def test_a_disk_that_takes_no_more_leaves_nothing(board: FakeBoard, house: Path) -> None:
    # Files of more than 2 MB are refused, as a full disk does: numpy has some.
    limited = f"ulimit -f 4000; exec sh {house}/install.sh --root {board.root}"
    said = one_line(told(board, "sh", "-c", limited), 4)
    assert "cannot be installed" in said
    assert "File too large" in said
    assert board.files() == set()


def test_where_nothing_was_set_up_upgrade_replace_and_remove_say_so(board: FakeBoard) -> None:
    for verb in ("upgrade", "replace", "remove"):
        done = told(board, sys.executable, "-m", "sprat_device", "board", verb, "--root", str(board.root))
        assert "no agent was set up here" in one_line(done, 4)
    assert board.files() == set()
