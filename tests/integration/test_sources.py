"""Sources over real parts: a broker, child processes, a pty for a serial line, an installed plug-in, the agent's process.

No camera and no serial device is at hand here: a program that writes frames stands for the one, a pty for the other.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.brokers import Mosquitto, make_plain_broker
from tests.unit.device.inference.bundles import DIGEST, INPUT, KeptRecords, manifest, session

from sprat.compiler.spec import preprocess_plan
from sprat_device.agent import streams as streams_
from sprat_device.agent.streams import Streams
from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import DeviceSettings, InputSettings, OutputSettings, ServeSettings
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import Manifest, TensorSpec
from sprat_device.contract.phases import Reason
from sprat_device.contract.records import Origin
from sprat_device.contract.twin import Installed
from sprat_device.inference.loop import Loop
from sprat_device.inference.preparing import preparing
from sprat_device.inference.session import Session
from sprat_device.inference.sources import open_inlet, reopening
from sprat_device.inference.sources.item import Item
from sprat_device.inference.sources.reading import Reading, Source
from sprat_device.inference.sources.waiting import Waiting

pytestmark = pytest.mark.integration
_MOST_S = 20
ORIGIN = Origin(ModelName("tiny"), 1, DIGEST)


class Line:
    """One source with what it tells."""

    def __init__(self, described: Manifest | None = None, state: Path | None = None, **given: Any) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []
        settings = replace(InputSettings("tiny", "stdin"), **given)
        inlet = open_inlet(settings, SystemClock(), lambda code, detail: self.told.append((code, detail)), state=state)
        self.source: Source = inlet.fitted(described or manifest())

    def read(self, count: int) -> list[Reading]:
        found: list[Reading] = []
        until = time.monotonic() + _MOST_S
        while len(found) < count:
            assert time.monotonic() < until, (found, self.told)
            if (reading := self.source.read(0.1)) is not None:
                found.append(reading)
        return found

    def until(self, code: str) -> Mapping[str, object]:
        """Read until an event of this kind was told."""
        until = time.monotonic() + _MOST_S
        while not (found := [detail for told, detail in self.told if told == code]):
            assert time.monotonic() < until, self.told
            self.source.read(0.05)
        return found[-1]


@pytest.fixture
def open_line() -> Iterator[Callable[..., Line]]:
    opened: list[Line] = []

    def open_(*args: Any, **given: Any) -> Line:
        opened.append(Line(*args, **given))
        return opened[-1]

    yield open_
    for line in opened:
        line.source.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reopen within a fraction of a second."""
    monkeypatch.setattr(reopening, "_LEAST_S", 0.05)
    monkeypatch.setattr(reopening, "_MOST_S", 0.2)


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + _MOST_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def rows(readings: list[Reading]) -> list[Any]:
    return [reading.inputs["x"].tolist() for reading in readings]


def program(*lines: str) -> tuple[str, ...]:
    return sys.executable, "-c", "\n".join(("import os, signal, sys, time", *lines))


# A child's output


def test_a_camera_command_gives_frames_and_is_killed_with_its_own_children(
    tmp_path: Path, open_line: Callable[..., Line]
) -> None:
    # Stands for `libcamera-vid --codec yuv420 -o -`, which ignores SIGTERM while it is busy, with a child of its own.
    command = program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "if os.fork() == 0:",
        f"    open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))",
        "    time.sleep(600)",
        "sys.stderr.write('sensor found\\n'); sys.stderr.flush()",
        "for n in range(10**9):",
        "    sys.stdout.buffer.write(bytes([n % 256]) * 16 + bytes([128]) * 8); sys.stdout.flush(); time.sleep(0.01)",
    )
    described = manifest(inputs=(TensorSpec("x", "uint8", (1, 4, 4, 3)),))
    line = open_line(
        described, kind="command", command=command, format="raw", pixels="yuv420", width=4, height=4, newest=True
    )
    first, second = line.read(2)
    pid = tmp_path / "child"
    wait_until(lambda: pid.exists() and pid.read_text())
    assert first.inputs["x"].shape == (4, 4, 3)
    assert len(set(first.inputs["x"].ravel().tolist())) == 1  # gray: U and V are at their middle
    assert second.inputs["x"][0, 0, 0] != first.inputs["x"][0, 0, 0]
    line.source.close()
    wait_until(lambda: not _runs(pid.read_text()))


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_command_that_ends_is_started_anew_and_its_words_are_logged(
    open_line: Callable[..., Line], caplog: pytest.LogCaptureFixture
) -> None:
    command = program("print('[1, 2, 3]', flush=True)", "[print('trouble', n, file=sys.stderr) for n in range(500)]")
    line = open_line(kind="command", command=command)
    first, second, third = line.read(3)
    assert rows([first, second, third]) == [[1, 2, 3]] * 3
    assert [first.begins, second.begins, third.begins] == [False, True, True]
    name = Path(sys.executable).name
    # On a busy machine its end may come later than that of its output.
    said = ({"detail": f"{name} ended with 0"}, {"detail": f"{name} closed its output"})
    assert line.told[0][0] == "source-failed"
    assert line.told[0][1] in said
    assert line.told[1][0] == "source-back"
    said = [record.message for record in caplog.records if "trouble" in record.message]
    assert 20 <= len(said) <= 20 * 3  # of 500 for each run


def test_a_command_that_does_not_exist_is_told_and_tried_again(open_line: Callable[..., Line]) -> None:
    line = open_line(kind="command", command=("/nowhere/camera",))
    assert line.until("source-failed") == {"detail": "/nowhere/camera: No such file or directory"}


def test_garbage_between_lines_is_a_fault_each(open_line: Callable[..., Line]) -> None:
    command = program(
        "sys.stdout.buffer.write(b'[1, 2, 3]\\n\\x00\\xff\\xfe garbage\\n{\"x\": \\n[4, 5, 6]\\n')",
        "sys.stdout.flush(); time.sleep(600)",
    )
    found = open_line(kind="command", command=command).read(4)
    assert [reading.fault and reading.fault.reason for reading in found] == [
        None,
        Reason.INPUT_UNREADABLE,
        Reason.INPUT_UNREADABLE,
        None,
    ]


def test_a_command_that_falls_silent_is_told(tmp_path: Path, open_line: Callable[..., Line]) -> None:
    go = tmp_path / "go"
    behave = f"echo '[1, 2, 3]'; while [ ! -e {go} ]; do sleep 0.1; done; echo '[4, 5, 6]'; sleep 600"
    line = open_line(kind="command", command=("/bin/sh", "-c", behave), stalled_after_s=2.0)
    line.read(1)
    line.until("source-stalled")
    go.touch()
    (reading,) = line.read(1)
    assert reading.begins
    assert [code for code, _detail in line.told] == ["source-stalled", "source-flowing"]


# A serial line


class Wire:
    """A pty behind a name, which can be unplugged and plugged in again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug()

    def plug(self) -> None:
        self.ours, self._theirs = pty.openpty()
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._theirs))

    def unplug(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._theirs)
        os.close(self.ours)


def test_a_serial_line_is_read_raw_and_opened_anew_after_unplugging(
    tmp_path: Path, open_line: Callable[..., Line]
) -> None:
    wire = Wire(tmp_path / "ttyUSB0")
    line = open_line(kind="serial", path=str(wire.path), baud=57600, format="csv")
    assert line.source.read(0) is None  # opens it
    os.write(wire.ours, b"1, 2, 3\r\n4,5,6\r\n")
    assert rows(line.read(2)) == [[1, 2, 3], [4, 5, 6]]
    wire.unplug()
    line.until("source-failed")
    wire.plug()
    until = time.monotonic() + _MOST_S
    found: Reading | None = None
    while found is None:
        assert time.monotonic() < until
        os.write(wire.ours, b"7,8,9\r\n")  # what came before it was opened is left out
        found = line.source.read(0.1)
    assert (found.inputs["x"].tolist(), found.begins) == ([7, 8, 9], True)
    assert [code for code, _detail in line.told] == ["source-failed", "source-back"]
    wire.unplug()


def test_binary_records_of_a_serial_line_pass_unchanged(tmp_path: Path, open_line: Callable[..., Line]) -> None:
    wire = Wire(tmp_path / "ttyACM0")
    described = manifest(inputs=(TensorSpec("x", "uint8", (1, 256)),))
    line = open_line(described, kind="serial", path=str(wire.path), format="raw")
    assert line.source.read(0) is None
    every = bytes(range(256))  # among them what a terminal would take for control characters
    os.write(wire.ours, every)
    assert rows(line.read(1)) == [list(every)]
    wire.unplug()


def test_a_path_that_is_no_serial_line_is_told(tmp_path: Path, open_line: Callable[..., Line]) -> None:
    plain = tmp_path / "plain"
    plain.write_text("1,2,3\n")
    line = open_line(kind="serial", path=str(plain))
    assert line.until("source-failed") == {"detail": f"{plain}: is no serial line"}


# A topic of a local broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = make_plain_broker(tmp_path)
    made.start()
    yield made
    made.kill()


class Sensor:
    """A client that publishes."""

    def __init__(self, broker: Mosquitto) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def say(self, payload: bytes) -> None:
        self.client.publish("site/one", payload, qos=1).wait_for_publish(_MOST_S)

    def end(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def wait_for_first(line: Line, sensor: Sensor) -> None:
    """Publish until the subscription stands."""
    until = time.monotonic() + _MOST_S
    while line.source.read(0.1) is None:
        assert time.monotonic() < until, line.told
        sensor.say(b"[0, 0, 0]")
    sensor.say(b"[0, 0, 1]")
    while rows(line.read(1)) != [[0, 0, 1]]:
        pass


def test_messages_of_a_topic_become_readings_over_a_broker_that_dies(
    broker: Mosquitto, open_line: Callable[..., Line]
) -> None:
    line = open_line(kind="mqtt", port=broker.port, topic="site/+", qos=1)
    sensor = Sensor(broker)
    wait_for_first(line, sensor)
    sensor.say(b'{"a": 1, "b": 2, "c": 3}')
    sensor.say(b"nonsense")
    good, bad = line.read(2)
    assert rows([good]) == [[1, 2, 3]]
    assert bad.fault is not None
    sensor.end()
    broker.kill()
    assert "connection lost" in str(line.until("source-failed")["detail"])
    broker.start()
    sensor = Sensor(broker)
    until = time.monotonic() + _MOST_S
    while (reading := line.source.read(0.1)) is None:
        assert time.monotonic() < until, line.told
        sensor.say(b"[9, 9, 9]")
    assert reading.begins
    assert [code for code, _detail in line.told] == ["source-failed", "source-back"]
    sensor.end()


def test_a_topic_that_floods_drops_the_oldest_and_counts_them(
    broker: Mosquitto, open_line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = open_line(kind="mqtt", port=broker.port, topic="site/one", format="raw", queue=8)
    sensor = Sensor(broker)
    wait_for_first_raw = np.zeros(3, np.float32).tobytes()
    until = time.monotonic() + _MOST_S
    while line.source.read(0.1) is None:
        assert time.monotonic() < until, line.told
        sensor.say(wait_for_first_raw)
    sensor.say(np.full(3, 0.5, np.float32).tobytes())
    while rows(line.read(1)) != [[0.5] * 3]:
        pass
    came: list[object] = []
    put = Waiting.put

    def counted(waiting: Waiting, item: Item) -> None:
        put(waiting, item)
        came.append(item)

    monkeypatch.setattr(Waiting, "put", counted)
    for n in range(1, 101):
        sensor.say(np.full(3, n, np.float32).tobytes())
    wait_until(lambda: len(came) == 100)  # the client's own thread takes them in
    found = line.read(8)
    assert [row[0] for row in rows(found)] == list(range(93, 101))
    assert [reading.begins for reading in found] == [True] + [False] * 7
    assert line.told == [("source-overflow", {"dropped": 92})]
    sensor.end()


def test_a_broker_that_is_not_there_is_told_and_closing_does_not_hang(open_line: Callable[..., Line]) -> None:
    line = open_line(kind="mqtt", port=1, topic="site/one")
    assert "no connection" in str(line.until("source-failed")["detail"])
    line.source.close()  # would wait for ever, and the test's own time limit end it


# A plug-in

PLUGIN = """
import asyncio
import time
class Gauge:
    def __init__(self, options):
        self.left = options["count"]
        self.value = options["value"]
        self.end = {"exit": SystemExit, "cancel": asyncio.CancelledError}.get(options.get("end"), RuntimeError)
    def read(self, timeout_s):
        if not self.left:
            raise self.end("the sensor is warm")
        self.left -= 1
        return {"a": self.value, "b": 2, "c": 3}
    def close(self):
        pass
class Hanging(Gauge):
    def read(self, timeout_s):
        time.sleep(600)
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package by hand: a module and its entry points."""
    (tmp_path / "gauges.py").write_text(PLUGIN)
    about = tmp_path / "gauges-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: gauges\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sprat.sources]\ngauge = gauges:Gauge\nhanging = gauges:Hanging\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("plugins")
def test_a_plug_in_that_raises_is_told_and_begun_anew(open_line: Callable[..., Line]) -> None:
    line = open_line(kind="plugin", plugin="gauge", options={"count": 2, "value": 7})
    found = line.read(3)
    assert rows(found) == [[7, 2, 3]] * 3
    assert [reading.begins for reading in found] == [False, False, True]
    assert line.told[0] == ("source-failed", {"detail": "plug-in gauge: RuntimeError: the sensor is warm"})


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(("end", "named"), [("exit", "SystemExit"), ("cancel", "CancelledError")])
def test_a_plug_in_that_wants_to_end_the_process_or_is_cancelled_ends_only_itself(
    open_line: Callable[..., Line], end: str, named: str
) -> None:
    line = open_line(kind="plugin", plugin="gauge", options={"count": 1, "value": 7, "end": end})
    assert len(line.read(2)) == 2
    assert line.told[0] == ("source-failed", {"detail": f"plug-in gauge: {named}: the sensor is warm"})


@pytest.mark.usefixtures("plugins")
def test_a_plug_in_that_hangs_holds_nothing_up(open_line: Callable[..., Line]) -> None:
    line = open_line(kind="plugin", plugin="hanging", options={"count": 1, "value": 1}, stalled_after_s=0.2)
    line.until("source-stalled")
    line.source.close()  # would wait for ever, and the test's own time limit end it


@pytest.mark.usefixtures("plugins")
def test_a_plug_in_that_is_not_installed_is_named(open_line: Callable[..., Line]) -> None:
    line = open_line(kind="plugin", plugin="gage")
    detail = str(line.until("source-failed")["detail"])
    assert "(found: gauge, hanging); did you mean 'gauge'?" in detail


# Standard input, in a process of its own


def test_a_standard_input_that_is_closed_is_told(
    open_line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it for a program that was started with `<&-`
    assert open_line().until("source-failed")["detail"] == "stdin: is closed; start the agent with an input"


def test_standard_input_is_read_as_records_until_its_end() -> None:
    code = (
        "from dataclasses import replace\n"
        "from tests.unit.device.inference.bundles import manifest\n"
        "from sprat_device.board.clock import SystemClock\n"
        "from sprat_device.board.settings import InputSettings\n"
        "from sprat_device.inference.sources import open_inlet\n"
        "settings = replace(InputSettings('tiny', 'stdin'), format='raw')\n"
        "source = open_inlet(settings, SystemClock(), print).fitted(manifest())\n"
        "while (reading := source.read(2)) is not None: print(reading.index, reading.inputs['x'].tolist())\n"
    )
    payload = np.arange(7, dtype=np.float32).tobytes()  # two records and a rest
    done = subprocess.run([sys.executable, "-c", code], input=payload, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().splitlines() == ["0 [0.0, 1.0, 2.0]", "1 [3.0, 4.0, 5.0]"]


# Through the loop and the streams

SAMPLES = program(
    "for n in range(10**9):",
    '    print(\'{"a": %d, "b": %d, "c": 0.5}\' % (n % 7, os.getpid() % 10), flush=True); time.sleep(0.002)',
)


def windowed(length: int) -> Manifest:
    """Return a bundle's manifest that declares windows of so many samples."""
    declared = {"x": ({"step": "window", "rows": length, "hop": 2, "channels": ["a", "b", "c"]},)}
    return replace(manifest(inputs=(TensorSpec("x", "float32", (1, length, 3)),)), preprocess=declared)


def mean(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"y": inputs["x"].mean(axis=1)}


def test_a_bundle_with_other_windows_takes_over_while_the_source_runs_on() -> None:
    records, clock, told = KeptRecords(), SystemClock(), []
    settings = replace(InputSettings("tiny", "command"), command=SAMPLES)
    inlet = open_inlet(settings, clock, lambda code, detail: told.append(code))
    first, second = windowed(3), windowed(5)
    seen: list[int] = []

    def keep(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(inputs["x"].shape[1])
        return mean(inputs)

    baseline = Baseline({}, {}, np.array([1, 1, 1]))
    loop = Loop(inlet.fitted(first), records, clock, lambda *_: None)
    loop.swap(session(keep, first, baseline=baseline), ORIGIN, inlet.fitted(first))
    steps_until(loop, lambda: len(seen) >= 3)
    loop.swap(session(keep, second, baseline=baseline), ORIGIN, inlet.fitted(second))
    before = len(seen)
    steps_until(loop, lambda: len(seen) >= before + 3)
    loop.close()
    assert set(seen[:before]) == {3}
    assert set(seen[before:]) == {5}
    indexes = [prediction.index for _origin, prediction in records.predictions]
    assert indexes == list(range(len(indexes)))
    assert told == []  # no break: the same program went on
    assert records.events == []


def steps_until(loop: Loop, true: Callable[[], bool]) -> None:
    until = time.monotonic() + _MOST_S
    while not true():
        assert time.monotonic() < until
        loop.step(0.1)


class Held:
    """What an installer holds: one bundle that answers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: list[str] = []

    def active(self, _model: str) -> tuple[Installed, Path]:
        return Installed(DIGEST, 1), self.path

    def loaded(self, _model: str, _digest: str) -> None:
        pass

    def again(self, _model: str) -> bool:
        return False

    def not_loaded(
        self, _model: str, _digest: str, detail: str, *, unfed: bool = False, lacks: bool = False, defect: bool = False
    ) -> None:
        self.lost.append(f"unfed: {detail}" if unfed else f"lacks: {detail}" if lacks or defect else detail)

    def observe(self, *_: object) -> None:
        pass


def test_a_reading_of_a_child_becomes_an_act_of_a_program_and_all_of_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acted = tmp_path / "acted"
    wanted = replace(InputSettings("tiny", "command"), command=program(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))",
        "for n in range(10**9): print([0.1, 0.2, 0.7] if n // 50 % 2 else [0.7, 0.2, 0.1], flush=True); time.sleep(0.005)",
    ))  # fmt: skip
    act = replace(
        OutputSettings(), kind="command", on="change", labels=("high",),
        command=(*program(f"open({str(acted)!r}, 'a').write(sys.argv[1] + '\\n')"), "{label}"),
    )  # fmt: skip
    monkeypatch.setattr(Session, "open", lambda *_args, **_named: session())
    held, records = Held(tmp_path), KeptRecords()
    settings = replace(DeviceSettings(), inputs=(wanted,), outputs=(act,))
    streams = Streams(tmp_path, settings, SystemClock(), records, held)  # type: ignore[arg-type]
    streams.follow_slots()
    assert held.lost == []
    until = time.monotonic() + _MOST_S
    while not (acted.exists() and acted.read_text().count("\n") >= 2):
        assert time.monotonic() < until
        assert streams.dead() == []
        time.sleep(0.05)
    assert streams.stop(5) == []
    assert set(acted.read_text().split()) == {"high"}
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
    assert records.events == []


def test_an_input_that_does_not_fit_is_not_the_bundles_fault_and_is_tried_again_by_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "open", lambda *_args, **_named: session())
    held, rows = Held(tmp_path), tmp_path / "rows.npy"
    wanted = InputSettings("tiny", "replay", path=str(rows))
    settings = replace(DeviceSettings(), inputs=(wanted,))
    streams = Streams(tmp_path, settings, SystemClock(), KeptRecords(), held)  # type: ignore[arg-type]
    streams.follow_slots()
    streams.follow_slots()
    assert (len(held.lost), held.lost[0][:7], streams.runtimes) == (1, "unfed: ", {})
    np.save(rows, np.full((4, 3), 0.5, np.float32))
    streams.reconfigure(settings)
    streams.follow_slots()
    assert (len(held.lost), list(streams.runtimes)) == (1, ["tiny"])
    assert streams.stop(5) == []


class Several:
    """Streams of a model with several inputs; a row that the model gives back says who read it."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *inputs: InputSettings, **more: Any) -> None:
        self.made = session()
        monkeypatch.setattr(Session, "open", lambda *_args, **_named: self.made)
        monkeypatch.setattr(streams_, "_AGAIN_S", 0.0)
        self.held, self.records = Held(tmp_path), KeptRecords()
        self.settings = replace(DeviceSettings(), inputs=inputs, **more)
        self.streams = Streams(tmp_path, self.settings, SystemClock(), self.records, self.held)  # type: ignore[arg-type]

    def until_answered(self, *inputs: str) -> None:
        """Wait until each of these inputs has answered anew."""
        done, until = len(self.records.predictions), time.monotonic() + _MOST_S
        while not set(inputs) <= {origin.input for origin, _ in self.records.predictions[done:]}:
            assert time.monotonic() < until
            self.streams.follow_slots()
            time.sleep(0.02)

    def codes(self) -> list[str]:
        return [code for code, _, _ in self.records.events]


def _rows(path: Path, name: str) -> InputSettings:
    return InputSettings("tiny", "replay", name=name, path=str(path), loop=True, rate_hz=100.0)


def test_an_input_that_does_not_fit_keeps_none_of_the_others_and_begins_once_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, late = tmp_path / "good.npy", tmp_path / "late.npy"
    np.save(good, np.full((4, 3), 0.5, np.float32))
    # The one that does not fit comes first.
    world = Several(tmp_path, monkeypatch, _rows(late, "late"), _rows(good, "good"))
    world.until_answered("good")
    assert world.held.lost == []
    assert list(world.streams.unfit) == ["tiny/late"]
    assert "late.npy" in world.streams.unfit["tiny/late"]
    assert world.codes().count("input-failed") == 1  # however often it is tried
    np.save(late, np.full((4, 3), 0.5, np.float32))
    world.until_answered("good", "late")
    assert world.streams.unfit == {}
    assert world.codes().count("input-back") == 1
    assert world.streams.stop(5) == []


def test_a_bundle_that_one_input_cannot_be_read_for_is_told_so_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good.npy"
    np.save(good, np.full((4, 3), 0.5, np.float32))
    sized = replace(
        InputSettings("tiny", "command", name="raw", format="raw"),
        command=program("while True: sys.stdout.buffer.write(bytes(12)); sys.stdout.flush(); time.sleep(0.01)"),
    )  # fmt: skip
    world = Several(tmp_path, monkeypatch, sized, _rows(good, "good"))
    world.until_answered("good", "raw")
    # Another bundle, with another input beside: neither records nor rows of one array feed it any more.
    world.made = session(
        described=manifest(inputs=(INPUT, TensorSpec("z", "float32", (1, 3)))),
    )
    np.savez(tmp_path / "both.npz", x=np.ones((4, 3), np.float32), z=np.ones((4, 3), np.float32))
    settings = replace(world.settings, inputs=(sized, _rows(good, "good"), _rows(tmp_path / "both.npz", "both")))
    world.streams.reconfigure(settings)
    world.streams.reload(settings)
    world.until_answered("both")
    assert sorted(world.streams.unfit) == ["tiny/good", "tiny/raw"]
    assert [line[:7] for line in world.held.lost] == ["unfed: "]  # a trial ends by that, and the one before comes back
    world.made = session()
    world.streams.reload(settings)
    world.until_answered("good", "raw")
    assert world.streams.unfit == {}
    assert world.streams.stop(5) == []


def test_a_token_that_is_not_there_keeps_no_input_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, token = tmp_path / "good.npy", tmp_path / "token"
    np.save(good, np.full((4, 3), 0.5, np.float32))
    asked = InputSettings("tiny", "serve", name="asked")
    serve = replace(ServeSettings(), listen=f"unix:{tmp_path / 's'}", token_file=str(token))
    world = Several(tmp_path, monkeypatch, _rows(good, "one"), asked, serve=serve)
    world.until_answered("one")
    assert "not-listening" in world.codes()
    settings = replace(world.settings, inputs=(_rows(good, "two"), asked))
    world.streams.reconfigure(settings)
    with pytest.raises(WrongUse, match="token_file"):
        world.streams.serve(settings)
    world.until_answered("two")
    token.write_text("a-token-of-24-characters\n")
    token.chmod(0o640)
    world.streams.serve(settings)
    world.streams.follow_slots()
    assert (tmp_path / "s").is_socket()
    assert world.streams.stop(5) == []


def test_a_file_that_is_not_the_bundle_which_was_installed_answers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = session()
    other.bundle_digest = Digest("cd" * 32)
    monkeypatch.setattr(Session, "open", lambda *_args, **_named: other)
    held = Held(tmp_path / "other.sprat")
    settings = replace(DeviceSettings(), inputs=(InputSettings("tiny", "stdin"),))
    streams = Streams(tmp_path, settings, SystemClock(), KeptRecords(), held)  # type: ignore[arg-type]
    streams.follow_slots()
    assert (held.lost, streams.runtimes) == (["hash-mismatch: other.sprat has SHA-256 cdcdcdcdcdcd…"], {})
    assert streams.stop(5) == []


def test_what_the_device_prepares_is_what_the_build_prepared() -> None:
    steps = (
        {"step": "window", "rows": 8, "hop": 4, "channels": ["a", "b", "c"]},
        {"step": "detrend"},
        {"step": "normalise", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]},
    )
    described = replace(manifest(inputs=(TensorSpec("x", "float32", (1, 8, 3)),)), preprocess={"x": steps})
    series = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    code = f"sys.stdout.buffer.write(bytes.fromhex({series.tobytes().hex()!r})); sys.stdout.flush(); time.sleep(600)"
    line = Line(described, kind="command", command=program(code), format="raw")
    prepare = preparing(described)
    assert prepare is not None
    on_device = np.stack([prepare(reading).inputs["x"] for reading in line.read(9)])
    line.source.close()
    cut = np.stack([series[start : start + 8] for start in range(0, 33, 4)])
    assert on_device.tobytes() == preprocess_plan.prepared(cut, steps, "x").tobytes()
