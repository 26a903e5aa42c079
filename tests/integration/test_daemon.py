"""The agent as a process: what a service manager, an operator and the hub see of it, with a real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from tests import daemons
from tests.brokers import Mosquitto, TestAuthority
from tests.daemons import Asker, Start, make_state, settings, wait_for

from sprat_device.contract.capture import Wish
from sprat_device.contract.twin import Detail, InputMode, TelemetrySettings

pytestmark = pytest.mark.integration


@pytest.fixture
def hub(broker: Mosquitto, authority: TestAuthority) -> Iterator[Asker]:
    asker = Asker(broker, authority)
    yield asker
    asker.close()


@pytest.fixture
def state(tmp_path: Path, authority: TestAuthority) -> Path:
    """Return the state of a device whose broker is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return make_state(tmp_path / "state", authority, port)


@pytest.fixture
def linked(tmp_path: Path, authority: TestAuthority, broker: Mosquitto) -> Path:
    """Return the state of a device whose broker runs."""
    return make_state(tmp_path / "state", authority, broker.port)


UNREAD = """
import fcntl, os, sys
reading, writing = os.pipe()
os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)))
os.dup2(writing, 2)
from sprat_device.__main__ import main
sys.exit(main(["run", "--state", sys.argv[1]]))
"""
"""An agent whose standard error is full before its first line, and is never read."""


def _runs(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "runs.json").read_bytes())
    return found


def test_the_service_manager_is_told_of_start_life_reload_and_end(state: Path, start: Start) -> None:
    agent = start(state, watchdog_s=4)
    agent.ready()
    for _ in range(3):
        assert agent.manager.next() == "WATCHDOG=1"
    agent.signal(signal.SIGHUP)
    assert agent.manager.next(but="WATCHDOG") == "RELOADING=1"
    assert agent.manager.next(but="WATCHDOG") == "READY=1"
    assert agent.end() == 0
    assert agent.manager.next(but="WATCHDOG") == "STOPPING=1"
    assert (_runs(state)["end"], _runs(state)["starts"]) == ("clean", 1)


def test_a_log_that_nobody_reads_does_not_hold_the_agent(linked: Path, hub: Asker, start: Start) -> None:
    agent = start(linked, script=UNREAD)
    agent.ready()
    before = hub.healthy()
    wait_for(lambda: hub.healthy() > before, "inference goes on")
    kept = hub.ask("logs", lines=200)["result"]["lines"]
    assert any("starts, state in" in line for line in kept), "what was left out may be asked for"
    assert agent.end() == 0
    assert _runs(linked)["end"] == "clean"


CLOSED = """
import os, sys
for descriptor in (0, 1, 2):
    os.close(descriptor)
os.execv(sys.executable, [sys.executable, "-m", "sprat_device", "run", "--state", sys.argv[1]])
"""
"""An agent that is started without any standard stream."""


def test_an_agent_without_standard_streams_opens_nothing_in_their_place(linked: Path, hub: Asker, start: Start) -> None:
    agent = start(linked, script=CLOSED)
    agent.ready()
    before = hub.healthy()
    wait_for(lambda: hub.healthy() > before, "inference goes on")
    leads = {Path(f"/proc/{agent.process.pid}/fd/{descriptor}").readlink() for descriptor in (0, 1, 2)}
    assert leads == {Path(os.devnull)}
    assert agent.end() == 0
    assert _runs(linked)["end"] == "clean"


def test_a_hung_input_stops_the_watchdog_and_abort_tells_where_it_hangs(state: Path, start: Start) -> None:
    settings(state, more="[health]\nthread_limit_s = 1")
    agent = start(state, script=daemons.HANGS, watchdog_s=0.5)
    agent.ready()
    agent.says("input tiny: no progress")
    agent.manager.heard()
    with pytest.raises(TimeoutError):
        agent.manager.next(timeout_s=2)  # sixteen times the pace of a healthy one
    assert agent.end(signal.SIGABRT) == -signal.SIGABRT  # as systemd does
    assert "in read" in agent.log


def test_a_source_that_never_comes_back_and_a_broker_that_hangs_do_not_delay_the_end(
    linked: Path, broker: Mosquitto, hub: Asker, start: Start
) -> None:
    agent = start(linked, script=daemons.HANGS)
    agent.says("uplink: connected")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)  # half open: the connection stands, nobody reads
    assert agent.end() == 0
    assert "its source does not come back" in agent.log
    assert _runs(linked)["end"] == "clean"


def test_a_command_that_comes_while_the_agent_ends_is_answered(linked: Path, hub: Asker, start: Start) -> None:
    slowly = "import sprat_device.agent.agent as agent\nagent._STREAMS_END_S = 8.0\nagent._UPLINK_ENDS_S = 20.0\n"
    agent = start(linked, script=slowly + daemons.HANGS)
    assert hub.ask("ping")["ok"]
    agent.manager.heard()
    agent.signal(signal.SIGTERM)
    assert agent.manager.next() == "STOPPING=1"
    reply = hub.ask("ping")
    assert (reply["ok"], "the agent ends" in reply["detail"]) == (False, True)
    assert agent.process.wait(30) == 0


def test_a_broker_that_accepts_and_says_nothing_does_not_delay_the_end(
    tmp_path: Path, authority: TestAuthority, start: Start
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        state = make_state(tmp_path / "state", authority, silent.getsockname()[1])
        agent = start(state)
        agent.ready()
        assert agent.end() == 0
    assert _runs(state)["end"] == "clean"


def test_a_second_signal_ends_at_once(state: Path, start: Start) -> None:
    patiently = "import sprat_device.agent.agent as agent\nagent._STREAMS_END_S = 60.0\n"
    agent = start(state, script=patiently + daemons.HANGS)
    agent.ready()
    agent.signal(signal.SIGTERM)
    assert agent.manager.next() == "STOPPING=1"
    assert agent.end(signal.SIGTERM) == -signal.SIGTERM
    again = start(state)
    again.ready()
    assert again.end() == 0
    assert (_runs(state)["starts"], _runs(state)["crashes"]) == (2, 1)


def test_a_state_folder_of_a_newer_agent_is_refused_in_one_line_and_left(state: Path, start: Start) -> None:
    (state / "state.json").write_text('{"schema": "sprat.state/1", "layout": 9, "oldest": 9, "agent": "7.0"}')
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    agent = start(state)
    assert agent.process.wait(60) == 4
    assert agent.log.splitlines()[-1].startswith(f"sprat-device: {state}: written by agent 7.0 in layout 9")
    left = {path: path.read_bytes() for path in state.rglob("*") if path.is_file() and path.name != "lock"}
    assert left == before


def test_settings_follow_the_file(linked: Path, hub: Asker, start: Start) -> None:
    agent = start(linked)
    agent.says("uplink: connected")
    settings(linked, inputs=("", "second"), top='log_level = "debug"\nclock = "synchronised"')
    agent.signal(signal.SIGHUP)
    agent.says("settings changed by the file: log_level, inputs")
    agent.says("these settings count after a restart: clock")
    before = hub.healthy()
    wait_for(lambda: hub.healthy() > before + 10, "both inputs answer")
    (linked / "sprat.toml").write_text("log_level = 'loud'\n")
    agent.signal(signal.SIGHUP)
    agent.says("settings stay as they were")
    before = hub.healthy()
    wait_for(lambda: hub.healthy() > before + 10, "it answers on")
    settings(linked, inputs=())
    agent.signal(signal.SIGHUP)
    agent.says("tiny: no input feeds it")
    assert agent.end() == 0


def test_the_hub_tunes_what_the_owner_lets_it(linked: Path, hub: Asker, start: Start) -> None:
    agent = start(linked)
    agent.says("uplink: connected")
    hub.desire(log_level="error", telemetry=TelemetrySettings(detail=Detail.SUMMARY), inputs={"tiny": InputMode.OFF})
    agent.says("settings changed by the hub: log_level")
    before = hub.healthy()
    wait_for(lambda: hub.healthy() > before, "an input that the owner keeps answers on")
    settings(linked, more="[remote]\ninputs = true")
    assert hub.ask("reload")["ok"]
    wait_for(lambda: hub.ask("status")["result"]["report"]["models"]["tiny"]["running"] == "", "the input is off")
    hub.desire()
    wait_for(lambda: hub.ask("status")["result"]["report"]["models"]["tiny"]["running"] != "", "the input is on")
    assert agent.end() == 0


def test_nothing_is_written_outside_the_state_folder(linked: Path, hub: Asker, start: Start) -> None:
    (linked / "tmp").mkdir()
    (linked / "tmp/left.behind").write_bytes(b"by a child that was killed")
    agent = start(linked)
    wait_for(lambda: hub.healthy() > 20, "it answers")
    assert agent.end() == 0
    assert list((linked / "tmp").iterdir()) == []
    assert list(agent.home.rglob("*")) == []


def test_commands_are_answered_as_far_as_they_are_allowed(linked: Path, hub: Asker, start: Start) -> None:
    agent = start(linked)
    assert hub.ask("ping")["ok"]
    assert "tiny: release 1" in "\n".join(hub.ask("logs", lines=200)["result"]["lines"])
    assert hub.ask("flush") == {"schema": "sprat.reply/1", "ok": True, "result": {"flushed": True}}
    assert "not allowed on this device" in hub.ask("restart")["detail"]
    settings(linked, more='[remote]\ncommands = ["restart", "status"]')
    agent.signal(signal.SIGHUP)
    agent.says("settings changed by the file: remote.commands")
    assert "not allowed" in hub.ask("ping")["detail"]
    pid = agent.process.pid
    assert hub.ask("restart", correlation=b"once")["result"] == {"restarts": True}
    wait_for(lambda: _runs(linked)["starts"] == 2, "it begins anew")
    assert hub.ask("restart", correlation=b"once")["result"] == {"already": True}
    wait_for(lambda: hub.healthy() > 0, "it answers again")
    assert (agent.process.pid, _runs(linked)["starts"]) == (pid, 2)
    assert agent.end() == 0


def test_a_reading_is_captured_on_request_where_the_owner_lets_it(linked: Path, hub: Asker, start: Start) -> None:
    settings(linked, more='[remote]\ncommands = ["capture-now", "status"]')
    agent = start(linked)
    assert "captures are off" in hub.ask("capture-now")["detail"]
    settings(linked, more='[remote]\ncommands = ["capture-now", "status"]\n[capture]\nenabled = true\nrandom_rate = 0')
    agent.signal(signal.SIGHUP)
    agent.says("capture.enabled")
    assert "expected one of tiny" in hub.ask("capture-now", model="stranger")["detail"]
    assert wait_for(lambda: hub.ask("capture-now", model="tiny").get("result"), "it is asked") == {"asked": ["tiny"]}

    def captured() -> int:
        return int(hub.ask("status")["result"]["report"]["ledger"]["captures"]["produced"])

    wait_for(lambda: captured() > 0, "a reading is kept")
    assert agent.end() == 0


def test_a_wish_for_captures_and_for_less_detail_is_followed(linked: Path, hub: Asker, start: Start) -> None:
    quiet = "random_rate = 0\nuncertain_below = 0\nunusual_factor = 1000"
    settings(linked, more=f"[capture]\nenabled = true\nhub_may_tune = true\n{quiet}")
    agent = start(linked)

    def produced(lane: str) -> int:
        return int(hub.ask("status")["result"]["report"]["ledger"][lane]["produced"])

    wait_for(lambda: produced("predictions") > 20, "it answers")
    assert produced("captures") == 0
    hub.desire(capture=Wish(labels=("low",)), telemetry=TelemetrySettings(detail=Detail.SUMMARY))
    wait_for(lambda: produced("captures") > 0, "a reading of that label is kept")
    told, answered = produced("predictions"), hub.healthy()
    wait_for(lambda: hub.healthy() > answered + 20, "it answers on")
    assert produced("predictions") == told
    hub.desire()
    wait_for(lambda: produced("predictions") > told, "every prediction is told again")
    assert agent.end() == 0


def _apart(*script: str) -> list[str]:
    """Return what runs a command with mounts of its own, after a script that makes them."""
    if shutil.which("unshare") is None:
        pytest.fail("unshare is missing") if os.environ.get("CI") else pytest.skip("no unshare")
    rights = [] if os.geteuid() == 0 else ["-r"]
    return ["unshare", "-m", *rights, "sh", "-ec", "; ".join([*script, 'exec "$@"']), "sh"]


@pytest.mark.parametrize("cached", [True, False])
def test_a_read_only_state_folder_answers_on(linked: Path, hub: Asker, start: Start, cached: bool) -> None:
    first = start(linked)
    first.ready()
    assert first.end() == 0
    if not cached:
        shutil.rmtree(linked / "artifacts")
    was = {path: path.read_bytes() for path in linked.rglob("*") if path.is_file()}
    agent = start(linked, wrap=_apart(f"mount --bind {linked} {linked}", f"mount -o remount,ro,bind {linked}"))
    agent.says("cannot be written (Read-only file system)")
    if cached:
        wait_for(lambda: hub.healthy() > 20, "it answers")
        lost = ("report", "ledger", "predictions", "evicted")
        wait_for(lambda: reduce(getitem, lost, hub.ask("status")["result"]) > 0, "what is lost is counted")
    else:
        agent.says("cannot be loaded")
    assert agent.end() == 0
    assert {path: path.read_bytes() for path in linked.rglob("*") if path.is_file()} == was


def test_a_full_disk_at_the_start_answers_on(linked: Path, hub: Asker, start: Start, tmp_path: Path) -> None:
    first = start(linked)
    first.ready()
    assert first.end() == 0
    fill = f"dd if=/dev/zero of={linked}/filler bs=4k 2>/dev/null || true"
    copy = f"cp -a {linked} {tmp_path}/copy && mount -t tmpfs -o size=4m tmpfs {linked} && cp -a {tmp_path}/copy/. {linked}"
    agent = start(linked, wrap=_apart(copy, fill))
    agent.says("cannot be written (No space left on device)")
    wait_for(lambda: hub.healthy() > 20, "it answers")
    assert agent.end() == 0


def test_tmp_may_be_read_only_and_code_made_at_run_time_forbidden(linked: Path, hub: Asker, start: Start) -> None:
    place = Path("/mnt")
    settings(linked)
    text = (linked / "sprat.toml").read_text().replace(str(linked), str(place))
    (linked / "sprat.toml").write_text(text)
    # One of them may hold the clone that is tested, which the agent needs to read.
    over = [folder for folder in ("/tmp", "/var/tmp") if not Path(sys.prefix).is_relative_to(folder)]  # noqa: S108
    tmp = [f"mount -t tmpfs -o ro tmpfs {folder}" for folder in over]
    agent = start(
        linked,
        wrap=_apart(f"mount --bind {linked} {place}", *tmp),
        script=daemons.SANDBOXED.replace("sys.argv[1]", f"'{place}'"),
    )
    wait_for(lambda: hub.healthy() > 20, "it answers")
    assert agent.end() == 0
