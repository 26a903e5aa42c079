"""Set-up and upkeep of the agent on a board, where no environment is needed: what is believed, chosen and waited for."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.boards import FakeBoard

from sprat_device.board import alone, pinned
from sprat_device.board import identity as identities
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.pinned import EnrolRefused
from sprat_device.board.systemd import UNIT_NAME, unit
from sprat_device.board.upkeep import environments, house, places, service, sources, watch
from sprat_device.board.upkeep import remove as removing
from sprat_device.board.upkeep import replace as replacing
from sprat_device.board.upkeep import setup as setting_up
from sprat_device.board.upkeep import upgrade as upgrading
from sprat_device.board.upkeep.fetching import choose
from sprat_device.board.upkeep.joining import Joining, enrol
from sprat_device.board.upkeep.machine import Machine
from sprat_device.board.upkeep.places import BoardRefused, Places, Record
from sprat_device.board.upkeep.remove import remove
from sprat_device.board.upkeep.site import Site
from sprat_device.board.upkeep.sources import From
from sprat_device.board.upkeep.upgrade import upgrade_to
from sprat_device.board.upkeep.watch import Patience, await_well, look
from sprat_device.contract.enrolment import EnrolToken
from sprat_device.contract.errors import ContractError, MachineLacks, WrongUse
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.wheelhouse import MANIFEST, HouseFile, Wheelhouse, dump_list, parse_list

ROOT = Path("/")
TOKEN = EnrolToken("a secret", Digest("0" * 64), Digest("1" * 64))


def a_house(name: str = "pi-4-litert", *, arch: str = "aarch64", runtime: str = "litert") -> Wheelhouse:
    return Wheelhouse(ModelName(name), "pi-4", (arch,), Machine(ROOT).python, runtime, "0.1.0", ())


# The agent's word


@dataclass
class Life:
    """A state folder and a clock; `does` says what happens at which second."""

    state: Path
    does: dict[int, Callable[[], None]]
    active: bool = True
    seconds: float = 0.0
    done: set[int] = field(default_factory=set)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for at in [at for at in self.does if at <= self.seconds and at not in self.done]:
            self.done.add(at)
            self.does[at]()

    def wait(self, agent: str = "2.0", *, before: watch.Seen | None = None) -> str:
        return await_well(
            self.state, before or look(self.state), agent, Patience(30, 10), active=lambda: self.active,
            now=lambda: self.seconds, sleep=self.sleep,
        )  # fmt: skip


def start(state: Path) -> None:
    """Reserve versions, as a start of the agent does."""
    number = look(state).next_start
    (state / "reported.version").write_text(str(number + 1000))


def tell(state: Path, agent: str) -> None:
    """Report, as the agent that was started last does for the first time."""
    number = look(state).next_start - 1000 + 1
    (state / "status.json").write_text(json.dumps({"agent": agent, "version": number}))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state of an agent 1.0 that was started once and has told that it runs."""
    start(tmp_path)
    tell(tmp_path, "1.0")
    return tmp_path


def test_an_agent_that_tells_its_version_and_stays_is_well(state: Path) -> None:
    life = Life(state, {2: lambda: start(state), 3: lambda: tell(state, "2.0")})
    assert life.wait() == ""
    assert 13 <= life.seconds < 15


def test_the_last_word_of_the_old_agent_is_not_the_new_ones(state: Path) -> None:
    life = Life(state, {1: lambda: (state / "status.json").write_text('{"agent": "1.0", "version": 7}') and None})
    assert life.wait("1.0") == "it told nothing within 30 s, expected version 1.0"


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b'{"agent": "2.0"}', b'{"agent": "2.0", "version": "x"}'])
def test_a_word_that_cannot_be_read_is_none(state: Path, damaged: bytes) -> None:
    life = Life(state, {1: lambda: start(state), 2: lambda: (state / "status.json").write_bytes(damaged) and None})
    assert life.wait().startswith("it told nothing")


def test_another_version_than_the_expected_is_named(state: Path) -> None:
    life = Life(state, {1: lambda: start(state), 2: lambda: tell(state, "1.0")})
    assert life.wait() == "it told version 1.0 within 30 s, expected version 2.0"


def test_an_agent_that_starts_again_or_is_not_active_any_more_is_not_well(state: Path) -> None:
    first = {1: lambda: start(state), 2: lambda: tell(state, "2.0")}
    assert Life(state, {**first, 8: lambda: start(state)}).wait() == "it ended within 10 s after its first report"
    life = Life(state, {1: lambda: start(state), 2: lambda: tell(state, "2.0")})
    life.does[8] = lambda: setattr(life, "active", False)
    assert life.wait() == "it ended within 10 s after its first report"
    silent = Life(state, {1: lambda: start(state), 2: lambda: tell(state, "2.0")}, active=False)
    assert silent.wait() == "it told its version within 30 s, but systemd does not call it active"


# The service


def test_a_trials_drop_in_takes_the_place_of_the_units_commands(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing; install the package systemd")
        pytest.skip("no systemd-analyze")
    text = unit(python=Path("/usr/bin/python3"), state=Path("/var/lib"), user="root")
    part = tmp_path / f"{UNIT_NAME}.d" / "trial.conf"
    part.parent.mkdir()
    (tmp_path / UNIT_NAME).write_text(text)
    part.write_text(service.drop_in(text.replace("/usr/bin/python3", "/usr/bin/env")))
    verify = ["systemd-analyze", "verify", "--man=no", UNIT_NAME]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    good = subprocess.run(verify, capture_output=True, text=True, check=False, env=environment)
    assert good.returncode == 0, good.stderr
    part.write_text(part.read_text().replace("ExecStart=\n", ""))
    bad = subprocess.run(verify, capture_output=True, text=True, check=False, env=environment)
    assert "more than one ExecStart" in bad.stderr, "without the empty line systemd would refuse the unit"


# The machine


def test_a_32_bit_system_on_a_64_bit_kernel_is_32_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "maxsize", 2**63 - 1)
    assert Machine(ROOT).arch == "aarch64"
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert Machine(ROOT).arch == "armv7l"


def test_users_come_and_go_and_own_what_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = FakeBoard(tmp_path / "board")
    monkeypatch.setenv("PATH", board.environment["PATH"])
    machine = Machine(board.root)
    assert not machine.has_user("sprat")
    with pytest.raises(MachineLacks, match="user sprat: not known here"):
        machine.give(board.root, "sprat")
    machine.make_user("sprat", board.state)
    assert machine.has_user("sprat")
    assert not machine.has_user("spra")
    machine.give(board.root, "sprat")
    machine.drop_user("sprat")
    assert not machine.has_user("sprat")


def test_a_program_that_is_missing_or_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = FakeBoard(tmp_path / "board")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineLacks, match="systemctl is missing on this board"):
        Machine(board.root).reload()
    with pytest.raises(MachineLacks, match="dpkg-query is missing; this wheelhouse is for Debian"):
        Machine(board.root).lacking(["python3-numpy"])
    monkeypatch.setenv("PATH", board.environment["PATH"])
    (board.folder / "refuse-daemon-reload").touch()
    with pytest.raises(MachineLacks, match=r"systemctl daemon-reload failed: Failed to daemon-reload .* Access denied"):
        Machine(board.root).reload()


def test_only_root_changes_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineLacks, match="needs root; put sudo before it"), Machine(ROOT).changing():
        pass
    with Machine(tmp_path).changing():
        pass


def test_one_command_at_a_time_changes_a_board(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with Machine(tmp_path).changing():
        assert [path.stat().st_mode & 0o777 for path in run.iterdir()] == [0o600], "nobody but root can hold it"
        busy = "another sprat-device board command changes this board"
        with pytest.raises(MachineLacks, match=busy), Machine(tmp_path).changing():
            pass
    with Machine(tmp_path).changing():
        pass


HOLDS = """
import subprocess, sys
from pathlib import Path
from sprat_device.board import alone
with alone.hold_board(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    print(child.pid, flush=True)
    child.wait()
"""


def test_a_child_of_a_killed_command_still_holds_the_board(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        child = int(command.stdout.readline())
        command.kill()
    try:
        with pytest.raises(MachineLacks, match="wait until it has ended"), alone.hold_board(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    with held_soon(tmp_path):
        pass


def test_a_lock_whose_file_was_removed_costs_the_command_nothing(tmp_path: Path) -> None:
    with alone.hold_board(tmp_path):
        (tmp_path / "sprat-board.lock").unlink()
    with alone.hold_board(tmp_path):
        pass


@contextlib.contextmanager
def held_soon(run: Path) -> Iterator[None]:
    """Hold the board as soon as a child that was killed has ended."""
    until = time.monotonic() + 60
    while True:
        try:
            with alone.hold_board(run):
                yield
                return
        except MachineLacks:
            assert time.monotonic() < until
            time.sleep(0.01)


# Wheelhouses


def test_the_one_that_fits_is_taken_and_a_choice_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "maxsize", 2**63 - 1)  # these tests run on 32-bit boards too
    machine, pi, zero = Machine(ROOT), a_house(), a_house("pi-zero-2w-litert")
    other, x86 = a_house("pi-4-onnx", runtime="onnx"), a_house("generic-x86_64-litert", arch="x86_64")
    assert choose([zero, x86, pi], machine) == pi, "the same wheels under two names are no question"
    with pytest.raises(BoardRefused, match="which-wheelhouse: the hub has pi-4-litert, pi-4-onnx for this board"):
        choose([other, pi], machine)
    assert choose([other, pi], machine, runtime="onnx") == other
    assert choose([other, pi, zero], machine, name="pi-zero-2w-litert") == zero
    with pytest.raises(
        BoardRefused, match=r"no-wheelhouse: wanted any for Python .* on aarch64, the hub has generic-x"
    ):
        choose([x86], machine)
    with pytest.raises(BoardRefused, match="the hub has none; build one"):
        choose([], machine)


def test_a_hubs_list_survives_the_way(tmp_path: Path) -> None:
    houses = (a_house(), a_house("pi-4-onnx", runtime="onnx"))
    assert parse_list(dump_list(houses)) == houses
    for damaged in (b"", b"[]", b'{"wheelhouses": {}}', b'{"wheelhouses": [1]}'):
        with pytest.raises(ContractError):
            parse_list(damaged)


def test_a_file_that_is_missing_or_changed_refuses_the_whole(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "sprat_device-1-py3-none-any.whl"
    wheel.write_bytes(b"good")
    files = (HouseFile(f"wheels/{wheel.name}", Digest(hashlib.sha256(b"good").hexdigest()), 4),)
    manifest = Wheelhouse(ModelName("w"), "t", ("x86_64",), "3.11", "tflite", "1", files)
    (tmp_path / MANIFEST).write_bytes(manifest.dump())
    found = house.open_house(tmp_path)
    house.verify(found)
    assert found.environment == f"1-{found.sha256[:12]}"
    wheel.write_bytes(b"evil")
    with pytest.raises(BoardRefused, match=r"tampered: .*sprat_device.*; copy the wheelhouse again"):
        house.verify(found)
    wheel.unlink()
    with pytest.raises(BoardRefused, match="incomplete: "):
        house.verify(found)
    with pytest.raises(WrongUse, match="no wheelhouse here"):
        house.open_house(tmp_path / "nowhere")


# What is believed of a hub


def self_signed(name: str, *, padded: bool) -> x509.Certificate:
    while True:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        if (len(made.public_bytes(serialization.Encoding.DER)) % 3 != 0) == padded:
            return made


def test_a_second_certificate_behind_the_right_one_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A decoder of base64 may stop at the padding: the digest would be that of the first certificate alone.
    right, evil = self_signed("hub", padded=True), self_signed("thief", padded=False)
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in (right, evil)]
    token = EnrolToken(
        "s", Digest(right.fingerprint(hashes.SHA256()).hex()), Digest(hashlib.sha256(b"root").hexdigest())
    )
    monkeypatch.setattr(
        pinned, "request", lambda _tls, _method, url: b"".join(pem) if url.endswith("ca.pem") else b"root"
    )
    try:
        ca, _ = pinned.fetch("https://hub.test", token)
    except EnrolRefused:
        return
    context = pinned.context(ca)
    assert [dict(part[0] for part in one["subject"]) for one in context.get_ca_certs()] == [{"commonName": "hub"}]


@pytest.mark.parametrize("form", ["{}", '{{"error": {{"message": "{}"}}}}'])
def test_what_an_unknown_hub_says_moves_nothing_on_the_operators_terminal(form: str) -> None:
    said = form.format("no \\u001b[2J\\u202ethere" if form != "{}" else "no \x1b[2J\u202ethere").encode()
    told = str(pinned.refusal("https://hub.test/v1/ca.pem", 403, said))
    assert told.isprintable()
    assert told.endswith("(403): no ?[2J?there")


def test_a_pinned_ca_is_believed_whatever_the_clock_says() -> None:
    ca = self_signed("hub", padded=True).public_bytes(serialization.Encoding.PEM)
    made = pinned.context(ca)
    assert made.verify_flags & 0x200000, "X509_V_FLAG_NO_CHECK_TIME"
    assert made.verify_mode == ssl.CERT_REQUIRED
    assert made.check_hostname


def test_slips_are_told_before_anything_is_done() -> None:
    with pytest.raises(WrongUse, match="go together"):
        Joining("https://hub.test", "")
    with pytest.raises(WrongUse, match="expected https"):
        Joining("http://hub.test", "sprat1.x")
    with pytest.raises(ContractError, match="copy it whole"):
        Joining("https://hub.test", "sprat2.x")
    with pytest.raises(ContractError, match="device id"):
        Joining(device="../x")
    with pytest.raises(WrongUse, match="expected an absolute path"):
        Places.below(ROOT, Path("state"))


def test_the_record_survives_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    at = Places.below(tmp_path, Path("/var/lib/sprat"))
    with pytest.raises(MachineLacks, match="no agent was set up here"):
        places.load(at)
    at.home.mkdir(parents=True)
    record = Record("sprat", True, "1-abc", "0-abc", "pi-4", "litert")
    record.save(at)
    assert places.load(at) == record
    at.record.write_text("{")
    with pytest.raises(MachineLacks, match=r"is damaged .*; run the set-up again"):
        places.load(at)


# Replacing


class Cut(BaseException):
    """The power goes."""


class Bench(Machine):
    """A machine without systemd and users."""

    def systemctl(self, *arguments: str) -> None:
        pass

    def restart(self) -> None:
        pass  # it asks systemd in a way of its own: the test machine's, which may have an agent

    def give(self, folder: Path, user: str) -> None:
        pass


def identified(folder: Path, device: str) -> Identity:
    (folder / "identity").mkdir(parents=True)
    made = Identity(
        DeviceId(device), "https://hub.test", "hub.test", 8883, Channel("canary"), (), folder / "identity"
    )  # fmt: skip
    identities.store(made, OsFiles())
    return made


STEPS = 10
"""Of a replacement that change the disk."""


@pytest.mark.parametrize("at", range(STEPS + 1))
def test_no_cut_of_a_replacement_lets_an_id_tell_what_another_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    site = Site(Places.below(tmp_path, Path("/var/lib/sprat")), Bench(tmp_path), Patience(), lambda _said: None)
    state = site.at.state
    identified(state, "old")
    (state / "spool").mkdir()
    (state / "desired.json").touch()
    site.at.home.mkdir(parents=True)
    Record("sprat", True, "1-abc").save(site.at)
    got = identified(state / "replacement", "new")
    monkeypatch.setattr(replacing, "enrol", lambda *_: got)
    monkeypatch.setattr(service, "restart", lambda *_: "")
    monkeypatch.setattr(environments, "version", lambda _folder: "1")
    done = 0

    def counted(where: Any, name: str) -> None:
        act = getattr(where, name)

        def instead(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if done == at:
                raise Cut
            done += 1
            return act(*arguments, **named)

        monkeypatch.setattr(where, name, instead)

    for where, name in ((OsFiles, "rename"), (OsFiles, "sync_folder"), (shutil, "rmtree"), (Path, "unlink")):
        counted(where, name)
    with contextlib.suppress(Cut):
        replacing.replace(site, Joining("https://hub.test", TOKEN.dump(), "new"))
    monkeypatch.undo()
    assert done == at, "the sweep ends where the replacement does"
    is_new = (state / "identity").exists() and identities.load(state).device == "new"
    assert is_new or at < STEPS
    assert not (is_new and ((state / "spool").exists() or (state / "desired.json").exists()))
    identities.finish_replacement(state, OsFiles())  # the next boot
    assert identities.load(state).device in ("old", "new")


@pytest.mark.parametrize("at", ["stop", "forget", "exchange", "give"])
def test_a_replacement_that_is_interrupted_leaves_no_agent_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    told: list[str] = []

    class Interrupted(Bench):
        def systemctl(self, *arguments: str) -> None:
            told.append(arguments[0])
            if at == "stop" and arguments[0] == "stop":
                raise KeyboardInterrupt

        def give(self, folder: Path, user: str) -> None:
            if at == "give":
                raise KeyboardInterrupt

        def restart(self) -> None:
            told.append("restart")

    def interrupt(_state: Path) -> None:
        raise KeyboardInterrupt

    site = Site(Places.below(tmp_path, Path("/s")), Interrupted(tmp_path), Patience(), lambda _said: None)
    identified(site.at.state, "old")
    site.at.home.mkdir(parents=True)
    Record("sprat", True, "1-abc").save(site.at)
    got = identified(site.at.state / "replacement", "new")
    monkeypatch.setattr(replacing, "enrol", lambda *_: got)
    if at in ("forget", "exchange"):
        monkeypatch.setattr(replacing, f"_{at}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replacing.replace(site, Joining("https://hub.test", TOKEN.dump(), "new"))
    assert told == ["stop", "restart"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_root_asks_for_an_identity_as_the_agents_user_whatever_lies_in_its_folder() -> None:
    with TemporaryDirectory(prefix="sprat-replace-") as folder:  # not tmp_path, whose parents let nobody else in
        root, theirs = Path(folder), Path(folder) / "var/lib/sprat"
        root.chmod(0o755)
        python = root / "envs/1-abc/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\nid -u; id -G; exit 1\n")
        python.chmod(0o755)
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("sprat:x:65534:65534::/:/usr/sbin/nologin\n")
        theirs.mkdir(parents=True)
        (theirs / "replacement").symlink_to(root)  # root's folder: what would be written there root writes
        with pytest.raises(BoardRefused, match=r"not-enrolled: 65534$"):
            enrol(
                python.parents[1], Joining("https://hub.test", TOKEN.dump(), "new"), theirs / "replacement",
                Machine(root).ids("sprat"),
            )  # fmt: skip


@pytest.mark.parametrize("content", ["null", '{"schema": "sprat.identity/1"}', "", "{"])
def test_a_damaged_identity_is_what_a_replacement_and_a_removal_expect(tmp_path: Path, content: str) -> None:
    identified(tmp_path, "old")
    for name in ("identity.json", "identity.json.copy"):
        (tmp_path / "identity" / name).write_text(content)
    with pytest.raises(MachineLacks, match=r"is damaged .*; enrol this device again"):
        identities.load(tmp_path)


def test_an_environment_that_a_cut_upgrade_made_the_current_one_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    found = house.House(tmp_path, a_house(), "ab" * 32)
    folder = site.at.environments / found.environment
    folder.mkdir(parents=True)
    (folder / environments.MARK).touch()
    environments.switch(site.at, folder)  # and the power went before the record was written
    monkeypatch.setattr(service, "text", lambda *_, **__: "[Service]")
    monkeypatch.setattr(service, "restart", lambda *_: "it told nothing")
    monkeypatch.setattr(environments, "version", lambda _folder: "1")
    with pytest.raises(BoardRefused, match="not-well: "):
        upgrade_to(site, Record("sprat", True, "0.9-old", "0.8-older"), found, tried=True)
    assert site.at.current.resolve() == folder
    assert environments.is_whole(folder)


def test_an_upgrade_believes_the_link_after_a_cut_not_the_record_of_the_agent_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    identified(site.at.state, "kitchen")
    old, new = house.House(tmp_path, a_house(), "ab" * 32), house.House(tmp_path, a_house(), "cd" * 32)
    for found in (old, new):
        (site.at.environments / found.environment).mkdir(parents=True)
        (site.at.environments / found.environment / environments.MARK).touch()
    Record("sprat", True, old.environment, "0.8-older").save(site.at)
    environments.switch(site.at, site.at.environments / new.environment)  # and the power went
    monkeypatch.setattr(upgrading, "wheelhouse", lambda *_: contextlib.nullcontext(old))
    monkeypatch.setattr(service, "text", lambda *_, **__: "[Service]")
    monkeypatch.setattr(service, "restart", lambda *_: "")
    done = upgrading.upgrade(site, From(folder=tmp_path))
    assert done.upgraded_from == new.environment, "the new one runs: to take the old one is not nothing"
    assert site.at.current.resolve().name == old.environment
    assert (places.load(site.at).environment, places.load(site.at).previous) == (old.environment, new.environment)
    assert environments.is_whole(site.at.environments / new.environment), "the way back"


def test_what_a_cut_download_left_goes_with_the_next_one_that_of_another_command_stays(tmp_path: Path) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    source = Path(pinned.__file__).parents[2]
    cut = (
        f"import sys, os; sys.path.insert(0, {str(source)!r})\nfrom pathlib import Path\n"
        "from sprat_device.board.upkeep import sources\nfrom sprat_device.board.upkeep.places import Places\n"
        "with sources._scratch(Places.below(Path(sys.argv[1]), Path('/s'))) as folder:\n"
        "    (folder / 'wheel').write_bytes(bytes(1000)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", cut, str(tmp_path)], check=False)
    (left,) = site.at.home.glob(".fetched-*")
    with sources._scratch(site.at) as first:
        assert not left.exists()
        with sources._scratch(site.at):
            assert first.exists(), "it is in use"
    assert not list(site.at.home.glob(".fetched-*") if site.at.home.exists() else ())


@pytest.mark.parametrize("lost", ["record", "environment", "user"])
def test_set_up_again_mends_what_a_cut_or_a_worn_card_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    made: list[str] = []

    class Known(Bench):
        def has_user(self, user: str) -> bool:
            return lost != "user"

        def make_user(self, user: str, home: Path) -> None:
            made.append("user")

    site = Site(Places.below(tmp_path, Path("/s")), Known(tmp_path), Patience(), lambda _said: None)
    found = house.House(tmp_path, a_house(), "ab" * 32)
    folder = site.at.environments / found.environment
    folder.mkdir(parents=True)
    if lost != "environment":
        (folder / environments.MARK).touch()
    Record("sprat", True, found.environment, unit=("--memory-max-mib", "96")).save(site.at)
    if lost == "record":
        site.at.record.write_text("{")
    environments.switch(site.at, folder)
    monkeypatch.setattr(setting_up, "wheelhouse", lambda *_: contextlib.nullcontext(found))
    monkeypatch.setattr(service, "text", lambda *_, **__: "[Service]")
    monkeypatch.setattr(environments, "make", lambda *_: made.append("environment") or folder)
    setting_up.set_up(site, From(folder=tmp_path), Joining(), user="sprat")
    assert "environment" in made
    assert ("user" in made) is (lost == "user")
    record = places.load(site.at)
    assert record.environment == found.environment
    if lost != "record":
        assert (record.user_made, record.unit) == (True, ("--memory-max-mib", "96"))


@pytest.mark.parametrize(
    ("controllers", "limit_mib", "told"),
    [("cpu io pids\n", 96, 1), ("cpu io pids\n", 0, 0), ("cpu io memory pids\n", 96, 0), (None, 96, 0)],
)
def test_a_memory_limit_that_the_kernel_does_not_keep_is_told(
    tmp_path: Path, controllers: str | None, limit_mib: int, told: int
) -> None:
    if controllers is not None:
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text(controllers)
    said: list[str] = []
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), said.append)
    service.write(site, unit(python=Path("/p"), state=Path("/s"), user="sprat", memory_max_mib=limit_mib))
    assert len(said) == told
    assert all("cgroup_enable=memory" in line for line in said)


@pytest.mark.parametrize(("devices", "writable", "told"), [((), False, 1), ((), True, 0), (("/dev/ttyS0",), False, 0)])
def test_a_tmp_in_which_systemd_cannot_make_the_units_devices_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, devices: tuple[str, ...], writable: bool, told: int
) -> None:
    (tmp_path / "tmp").mkdir()
    asked: list[Path] = []
    monkeypatch.setattr(os, "access", lambda path, _how: asked.append(path) or writable)
    said: list[str] = []
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), said.append)
    service.write(site, unit(python=Path("/p"), state=Path("/s"), user="sprat", devices=devices))
    assert len(said) == told
    assert all("226/NAMESPACE" in line for line in said)
    assert asked in ([], [tmp_path / "tmp"])


def test_an_environment_is_whole_only_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: marked.append(environments.is_whole(tmp_path)))
    environments._seal(tmp_path)
    assert marked == [False]
    assert environments.is_whole(tmp_path)


def test_root_runs_nothing_that_lies_in_the_folder_where_the_operator_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "env/lib").mkdir()
    (tmp_path / "env/lib/agent.py").touch()
    strange = tmp_path / "strange"
    strange.mkdir()
    for module in ("sprat_device", "compileall"):
        (strange / f"{module}.py").write_text("open('was-run', 'w')")
    monkeypatch.chdir(strange)
    environments.run(tmp_path / "env", "--version")
    environments._compile(tmp_path / "env")
    assert not (strange / "was-run").exists()
    assert len(list((tmp_path / "env/lib").rglob("*.pyc"))) == 2


def test_an_operators_own_drop_in_outlives_a_trial(tmp_path: Path) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    service.begin_trial(site, unit(python=Path("/p"), state=Path("/s"), user="sprat"))
    own = site.at.trial.with_name("override.conf")
    own.touch()
    assert service.end_trial(site)
    assert [path.name for path in own.parent.iterdir()] == ["override.conf"]


def test_a_state_folder_that_is_a_disk_of_its_own_is_emptied_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    (site.at.state / "spool").mkdir(parents=True)
    (site.at.state / "spool" / "segment").touch()
    (site.at.state / "sprat.toml").touch()
    (site.at.state / "away").symlink_to(tmp_path)
    site.at.environments.mkdir(parents=True)
    environments.switch(site.at, site.at.environments / "1")
    Record("sprat", False, "1").save(site.at)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == site.at.state)
    remove(site, keep_state=False)
    assert list(site.at.state.iterdir()) == []
    assert not site.at.home.exists()


def test_a_removal_that_was_cut_has_left_the_command_that_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    agent = site.at.environments / "1" / "bin/sprat-device"
    agent.parent.mkdir(parents=True)
    agent.touch()
    site.at.state.mkdir()
    environments.switch(site.at, site.at.environments / "1")
    site.at.command.parent.mkdir(parents=True)
    site.at.command.symlink_to(site.at.current / "bin/sprat-device")
    Record("sprat", False, "1").save(site.at)

    def cut(_folder: Path) -> None:
        raise Cut

    clear = removing._clear
    monkeypatch.setattr(removing, "_clear", cut)
    with pytest.raises(Cut):
        remove(site, keep_state=False)
    assert site.at.command.exists()
    monkeypatch.setattr(removing, "_clear", clear)
    remove(site, keep_state=False)
    assert not site.at.command.is_symlink()
    assert not site.at.home.exists()


def test_a_state_folder_that_is_a_link_is_emptied(tmp_path: Path) -> None:
    site = Site(Places.below(tmp_path, Path("/s")), Bench(tmp_path), Patience(), lambda _said: None)
    disk = tmp_path / "disk"
    (disk / "spool").mkdir(parents=True)
    site.at.state.symlink_to(disk)
    site.at.environments.mkdir(parents=True)
    Record("sprat", False, "1").save(site.at)
    remove(site, keep_state=False)
    assert list(disk.iterdir()) == []
    assert not site.at.home.exists()


def test_a_fresh_board_needs_the_standard_library_alone() -> None:
    # Without site-packages: what set-up imports before there is an environment must not ask for more.
    modules = ["entry", "setup", "upgrade", "replace", "remove", "fetching"]
    statement = ", ".join(f"sprat_device.board.upkeep.{name}" for name in modules)
    source = Path(pinned.__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import sprat_device.__main__, {statement}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
