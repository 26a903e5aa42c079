"""The shadow: comparing, its duty cycle, and every way in which its process can go wrong beside a loop that goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import DIGEST, manifest, session

from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import RuntimeSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.contract import shadow as shadows
from sprat_device.contract.capture import Rule
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import State
from sprat_device.contract.phases import ClockState
from sprat_device.contract.records import NO_LABEL, Origin, Prediction
from sprat_device.contract.shadow import ShadowSummary
from sprat_device.contract.twin import Installed
from sprat_device.inference.capturing import Offered
from sprat_device.inference.shadowing import Shadow, Shadows, process
from sprat_device.inference.shadowing.compare import Compared, Comparer
from sprat_device.inference.shadowing.gate import Gate, Seen
from sprat_device.inference.shadowing.room import lacking
from sprat_device.inference.shadowing.shadow import Ports
from sprat_device.inference.shadowing.wire import REFUSED, Wire
from sprat_device.inference.sources.reading import Reading

MODEL = ModelName("tiny")
ORIGIN = Origin(MODEL, 1, DIGEST)
SHADOW = Installed(Digest("cd" * 32), 2)
SESSION = session()
STREAM = session(described=replace(manifest(), state=State.KEPT))
LONG_S = 120.0
"""No test waits so long unless something is broken."""


def reading(index: int = 0, *values: float, begins: bool = False) -> Reading:
    return Reading(index, 1, 1, {"x": np.array(values or (0.1, 0.2, 0.7), np.float32)}, begins=begins)


def prediction(label: int = 2, *outputs: float) -> Prediction:
    return Prediction(0, 1, 1, label, np.array(outputs or (0.1, 0.2, 0.7), np.float32), 50)


# Comparing


def compared(names: tuple[str, str], label: int, other: int, a: Any, b: Any, *, scores: bool = True) -> Compared:
    comparer = Comparer(names[0].split(), names[1].split(), scores=scores)
    return comparer.compare(label, np.array(a, np.float32), other, np.array(b, np.float32))


def test_labels_are_compared_by_their_text_and_scores_side_by_side() -> None:
    found = compared(("low high", "low high"), 1, 0, [0.2, 0.8], [0.6, 0.4])
    assert (found.same, found.mean_distance, found.max_distance) == (False, pytest.approx(0.4), pytest.approx(0.4))
    turned = compared(("low high", "high low"), 1, 0, [0.2, 0.8], [0.7, 0.3])
    assert (turned.same, turned.max_distance) == (True, pytest.approx(0.1))


def test_other_labels_have_no_scores_side_by_side() -> None:
    assert compared(("low high", "low top"), 0, 0, [0.9, 0.1], [0.8, 0.2]) == Compared(True)
    assert compared(("low high", "low middle high"), 1, 2, [0.2, 0.8], [0.1, 0.1, 0.8]) == Compared(True)


def test_values_have_a_distance_and_no_label() -> None:
    found = compared(("", ""), NO_LABEL, NO_LABEL, [20.0, 1.0], [21.0, 4.0], scores=False)
    assert found == Compared(None, 2.0, 3.0)


def test_one_number_for_all_labels_has_no_order_to_put_right() -> None:
    # A bundle that names a label alone, or gives one distance for two classes, whose shadow has the labels turned.
    assert compared(("low high", "high low"), 0, 1, [0], [1]) == Compared(True)
    assert compared(("low high", "high low"), 0, 0, [-1.5], [1.5]) == Compared(False)


def test_a_bundle_is_never_compared_by_the_labels_of_one_before_it(rig: Callable[..., Rig]) -> None:
    shadow = rig("good").shadow
    running: Any = SimpleNamespace(labels=("low", "middle", "high"))
    # Of two sessions that come after each other the second may lie where the first one lay: here it is one object.
    place: Any = SimpleNamespace(manifest=manifest(labels=("low", "middle", "high")))
    before = Seen(place, ORIGIN, reading(), prediction())
    outputs = np.array([0.1, 0.2, 0.7], np.float32)
    assert shadow._comparer(running, before).compare(2, outputs, 2, outputs).same is True
    place.manifest = manifest(labels=("high", "middle", "low"))
    after = Seen(place, Origin(MODEL, 2, Digest("ef" * 32)), reading(), prediction())
    assert shadow._comparer(running, after).compare(2, outputs, 2, outputs).same is False


# The gate


def test_one_reading_is_taken_when_it_is_wanted_and_all_are_counted() -> None:
    gate = Gate()
    gate.see(SESSION, ORIGIN, reading(1), prediction())
    assert gate.take(0) is None
    for index in (2, 3, 4):
        gate.see(SESSION, ORIGIN, reading(index), prediction())
    seen = gate.take(0)
    assert seen is not None
    assert seen.reading.index == 2
    assert gate.take(0) is None
    assert gate.readings() == {DIGEST: 4}
    assert gate.readings() == {}


def test_a_stream_is_followed_without_a_gap_until_the_shadow_falls_behind() -> None:
    gate = Gate()
    gate.take(0)
    for index in range(100):
        gate.see(STREAM, ORIGIN, reading(index), prediction())
    taken = []
    while (seen := gate.take(0)) is not None:
        taken.append((seen.reading.index, seen.fresh))
    assert taken == [(index, index == 0) for index in range(64)]
    gate.see(STREAM, ORIGIN, reading(200), prediction())
    seen = gate.take(0)
    assert seen is not None
    assert (seen.reading.index, seen.fresh) == (200, True)


def test_a_shadow_that_is_a_stream_is_fed_as_one() -> None:
    gate = Gate()
    gate.kept = True
    gate.take(0)
    for index in range(3):
        gate.see(SESSION, ORIGIN, reading(index), prediction())
    assert [seen.reading.index for seen in iter(lambda: gate.take(0), None)] == [0, 1, 2]


def test_a_gate_that_is_shut_forgets_what_waits() -> None:
    gate = Gate()
    gate.take(0)
    gate.see(SESSION, ORIGIN, reading(), prediction())
    gate.shut()
    gate.see(SESSION, ORIGIN, reading(), prediction())
    assert gate._waiting.empty()


# The process


class Kept:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.summaries: list[ShadowSummary] = []

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        self.events.append((code, detail))

    def summary(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        assert (code, model, bundle) == (shadows.CODE, MODEL, DIGEST)
        self.summaries.append(shadows.parse(detail))

    def codes(self) -> list[str]:
        return [code for code, _detail in self.events]


class Rig:
    """A shadow, and a loop's thread that goes on showing readings to it."""

    def __init__(self, folder: Path, what: str, *, runtime: RuntimeSettings | None = None, **settings: Any) -> None:
        self.recorder = Kept()
        self.offered: list[Offered] = []
        usual = ShadowSettings(cpu_share=1.0, memory_bytes=128 * 1024 * 1024, timeout_s=30.0)
        ports = Ports(
            settings=replace(usual, **settings), clock=SystemClock(ClockState.SYNCHRONISED), recorder=self.recorder,
            cache=folder, runtime=runtime or RuntimeSettings(), interval_s=3600, on_disagreement=self.offered.append,
        )  # fmt: skip
        self.shadow = Shadow(MODEL, SHADOW, folder / f"{what}.sprat", ports, delays_s=(0.05,))
        self.session = SESSION
        self.shown = 0
        self._ending = threading.Event()
        self._loop = threading.Thread(target=self._show, daemon=True)
        self._loop.start()

    def _show(self) -> None:
        while not self._ending.wait(0.001):
            self.shadow.gate.see(self.session, ORIGIN, reading(self.shown), prediction())
            self.shown += 1

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + LONG_S
        while not reached():
            assert time.monotonic() < end, (self.shadow.standing, self.recorder.events)
            time.sleep(0.01)

    def stop(self) -> ShadowSummary:
        """End everything, and return the last summary."""
        self._ending.set()
        self._loop.join()
        self.shadow.stop()
        self.shadow._thread.join(
            LONG_S
        )  # `stop` waits a second for it; a process of the lowest priority may take longer
        return self.recorder.summaries[-1]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(process, "_PROGRAM", "tests.unit.device.inference.bad_shadow")
    made: list[Rig] = []

    def make(what: str, **settings: Any) -> Rig:
        made.append(Rig(tmp_path, what, **settings))
        return made[-1]

    yield make
    for one in made:
        if one.shadow._thread.is_alive():
            one._ending.set()
            one.shadow.stop()


def test_a_shadow_that_agrees_says_so(rig: Callable[..., Rig]) -> None:
    one = rig("good")
    one.until(lambda: one.shadow.standing.compared >= 20)
    told = one.stop()
    assert (told.shadow, told.shadow_release_seq) == (SHADOW.bundle, 2)
    assert told.compared == told.agreed == told.labelled == told.distances >= 20
    assert told.distance_max == 0
    assert told.readings == one.shown
    assert told.latency.count == told.shadow_latency.count == told.compared
    assert told.shadow_latency.quantile(0.5) == pytest.approx(10_000, rel=0.06)
    assert told.cpu_us >= 10_000 * told.compared
    assert one.offered == []


def test_a_disagreement_is_counted_and_offered_to_capture(rig: Callable[..., Rig]) -> None:
    one = rig("other")
    one.until(lambda: one.shadow.standing.compared >= 3)
    told = one.stop()
    assert (told.agreed, told.labelled) == (0, told.compared)
    assert told.distance_max == pytest.approx(0.6)
    first = one.offered[0]
    assert (first.rule, first.shadow, first.shadow_label) == (Rule.SHADOW, SHADOW.bundle, 0)
    assert first.reading.inputs["x"].tolist() == pytest.approx([0.1, 0.2, 0.7])


def test_what_the_shadow_cannot_answer_is_an_error_of_its_own(rig: Callable[..., Rig]) -> None:
    one = rig("fail")
    one.until(lambda: one.shadow._figures.get(DIGEST) is not None and one.shadow._figures[DIGEST]._errors.total() > 3)
    told = one.stop()
    assert told.compared == 0
    assert told.errors == {"run-failed": sum(told.errors.values())}


def test_the_duty_cycle_keeps_to_its_share_of_the_processor(rig: Callable[..., Rig]) -> None:
    # Each answer says that it took ten milliseconds, so a tenth of the time allows ten answers a second.
    one = rig("good", cpu_share=0.1)
    one.until(lambda: one.shadow.standing.compared >= 1)
    begun, before = time.monotonic(), one.shadow.standing.compared
    one.until(lambda: one.shadow.standing.compared >= before + 12)
    assert time.monotonic() - begun > 12 * 0.1 * 0.8, "the bound holds however fast the machine is"
    one.stop()


@pytest.mark.parametrize(
    ("what", "reason"),
    [("crash", "ended"), ("die-3", "ended"), ("hang-2", "hung"), ("eat-2", "memory"), ("map-2", "memory")],
)
def test_a_shadow_that_goes_wrong_is_begun_again_and_then_given_up(
    rig: Callable[..., Rig], what: str, reason: str
) -> None:
    one = rig(what, starts=2, timeout_s=0.5 if what.startswith("hang") else LONG_S)
    one.until(lambda: one.shadow.standing.state == "given-up")
    shown = one.shown
    one.until(lambda: one.shown > shown + 20)  # the loop goes on
    codes = one.recorder.codes()
    assert codes.count("shadow-ended") == 2
    assert codes[-1] == "shadow-given-up"
    assert one.recorder.events[-1][1]["reason"] == reason
    assert one.shadow.standing.starts == 2
    assert one.shadow.pid == 0
    assert one.stop().starts == 2


def test_a_shadow_that_a_busy_board_holds_up_is_no_hung_one(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "held_back_s", lambda _pid: time.monotonic())  # others ran all the time
    one = rig("slow", timeout_s=0.5)
    one.until(lambda: one.shadow.standing.compared >= 2)
    assert one.shadow.standing.starts == 1
    one.stop()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell")
def test_the_kernel_tells_how_long_a_process_was_held_back() -> None:
    core = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    with (
        subprocess.Popen([sys.executable, "-c", spin]) as one,
        subprocess.Popen([sys.executable, "-c", spin]) as other,
    ):
        try:
            until = time.monotonic() + LONG_S
            while min(process.held_back_s(one.pid), process.held_back_s(other.pid)) < 0.2:
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            one.kill()
            other.kill()
    assert process.held_back_s(one.pid) == 0, "it is gone"


def test_a_process_that_lived_long_enough_has_its_deaths_forgotten(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sprat_device.inference.shadowing.shadow._HELD_US", 0)
    one = rig("die-3", starts=2)
    one.until(lambda: one.shadow.standing.starts >= 4)
    one.stop()


def test_its_process_ends_with_the_agent_even_where_it_hangs(tmp_path: Path) -> None:
    # The agent is a process of its own here, and killed; the shadow hangs, and never sees that its socket is closed.
    agent = (
        "import sys, pathlib; from sprat_device.inference.shadowing import process as p; "
        "from sprat_device.board.settings import RuntimeSettings as R; "
        "from sprat_device.board.settings.shadow import ShadowSettings as S; "
        f"p._PROGRAM = 'tests.unit.device.inference.bad_shadow'; f = pathlib.Path({str(tmp_path)!r}); "
        "s = p.ShadowProcess(f / 'hang-1.sprat', f, S(), digest='0' * 64, runtime=R(), stopping=lambda: False); s.load(); "
        "print(s.pid, flush=True); s.ask({}, reset=False)"
    )
    parent = subprocess.Popen([sys.executable, "-c", agent], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    shadow = int(parent.stdout.readline())
    assert _lives(shadow)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + LONG_S
    while _lives(shadow):
        assert time.monotonic() < end
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_its_process_has_one_thread_whatever_the_active_bundle_has(rig: Callable[..., Rig]) -> None:
    one = rig("good", runtime=RuntimeSettings(threads=4, onnx_inter_threads=2, cache_entries=100))
    one.until(lambda: one.shadow.standing.state == "running")
    words = Path(f"/proc/{one.shadow.pid}/cmdline").read_text().split("\0")
    told = json.loads(words[words.index("--runtime") + 1])
    assert (told["threads"], told["onnx_inter_threads"], told["cache_entries"]) == (1, 1, 0)
    one.stop()


def test_a_bundle_that_cannot_be_run_is_not_tried_again(rig: Callable[..., Rig]) -> None:
    one = rig("refuse", starts=5)
    one.until(lambda: one.shadow.standing.state == "given-up")
    assert one.shadow.standing.detail == "not-loaded: no such op"
    assert one.shadow.standing.starts == 1


def test_killed_from_outside_it_comes_back(rig: Callable[..., Rig]) -> None:
    one = rig("good", starts=3)
    one.until(lambda: one.shadow.standing.compared > 0)
    first = one.shadow.pid
    os.kill(first, signal.SIGKILL)
    one.until(lambda: one.shadow.pid not in (0, first) and one.shadow.standing.state == "running")
    before = one.shadow.standing.compared
    one.until(lambda: one.shadow.standing.compared > before)
    assert one.recorder.events[1][1]["detail"] == "its process ended with signal SIGKILL"
    one.stop()


def test_a_start_is_charged_for_itself_alone(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the thread had worked for earlier starts for hours: charged again, it would rest for days.
    monkeypatch.setattr("sprat_device.inference.shadowing.shadow._thread_cpu_us", lambda: 10**12)
    one = rig("good")
    one.until(lambda: one.shadow.standing.compared >= 1)
    one.stop()


def test_a_machine_that_begins_no_process_is_tried_again(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "absent"))
        one = rig("good", starts=100)
        one.until(lambda: one.shadow.standing.starts >= 2)
    one.until(lambda: one.shadow.standing.compared >= 1)
    assert one.recorder.events[0][1]["reason"] == "not-started"
    one.stop()


def test_a_process_that_the_kernel_holds_keeps_nobody(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    one = rig("good")
    one.until(lambda: one.shadow.standing.state == "running")
    released, end = threading.Event(), process.ShadowProcess.end

    def held(self: process.ShadowProcess) -> None:
        released.wait()
        end(self)

    monkeypatch.setattr(process.ShadowProcess, "end", held)
    one.shadow.stop()  # comes back, though the process does not
    assert one.shadow._thread.is_alive()
    released.set()
    one.shadow._thread.join()


@pytest.mark.parametrize("what", ["hang-1", "close-1"])
def test_stopping_ends_a_process_that_hangs(rig: Callable[..., Rig], what: str) -> None:
    one = rig(what, timeout_s=3600.0)
    one.until(lambda: one.shadow.standing.state == "running")
    pid = one.shadow.pid
    one.until(lambda: one.shown > 50)
    one.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_its_process_stands_back_behind_everything_else(rig: Callable[..., Rig]) -> None:
    one = rig("good")
    one.until(lambda: one.shadow.standing.state == "running")
    pid = one.shadow.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    one.stop()


def test_a_stream_is_not_compared_before_the_shadow_has_warmed_up(rig: Callable[..., Rig]) -> None:
    one = rig("stream", warm_up=30)
    one.session = STREAM
    one.until(lambda: one.shadow.standing.compared >= 1)
    told = one.stop()
    assert told.cpu_us >= 10_000 * (30 + told.compared)


def test_a_shadow_waits_until_the_machine_has_memory_to_spare(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "too little"
    monkeypatch.setattr("sprat_device.inference.shadowing.shadow.lacking", lambda _size: why)
    one = rig("good")
    one.until(lambda: one.shadow.standing.state == "waiting")
    assert one.shadow.standing.starts == 0
    why = ""
    one.until(lambda: one.recorder.codes() == ["shadow-waits", "shadow-running"])
    one.stop()


def test_memory_to_spare_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900000 kB\nMemAvailable:  600000 kB\n")
    assert lacking(600_000 * 1024, proc=tmp_path, cgroups=tmp_path) == ""
    assert lacking(600_001 * 1024, proc=tmp_path, cgroups=tmp_path).startswith("the machine has 585 MiB free")
    assert lacking(10**15, proc=tmp_path / "absent", cgroups=tmp_path) == ""


class Groups:
    """Control groups of version 2, as trees of files."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/cgroup").write_text("4:memory:/old\n0::/system.slice/sprat.service\n")
        (self.cgroups / "system.slice/sprat.service").mkdir(parents=True)

    def limit(self, group: str, **told: object) -> None:
        for name, value in told.items():
            (self.cgroups / group / f"memory.{name}").write_text(f"{value}\n")

    def lacking(self, size: int) -> str:
        return lacking(size, proc=self.proc, cgroups=self.cgroups)


@pytest.mark.parametrize("group", ["system.slice/sprat.service", "system.slice"])
@pytest.mark.parametrize(("high", "most"), [(100 << 20, "max"), ("max", 100 << 20), (100 << 20, 150 << 20)])
def test_a_limit_of_the_service_counts_as_well(tmp_path: Path, group: str, high: object, most: object) -> None:
    groups = Groups(tmp_path)
    groups.limit(group, high=high, max=most, current=80 << 20, stat=f"anon 1\ninactive_file {30 << 20}\nfile 9")
    assert groups.lacking(50 << 20) == ""
    assert groups.lacking(51 << 20).startswith("the service's memory limit leaves 50 MiB, the shadow may take 51;")


def test_a_service_without_limits_has_what_the_machine_has(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    assert groups.lacking(10**12) == ""
    groups.limit("system.slice", high="max", max="max", current=5, stat="inactive_file 0")
    assert groups.lacking(10**12) == ""
    groups.limit("system.slice", max="nonsense")
    assert groups.lacking(10**12) == ""


# The shadows of a device


class Begun:
    """A shadow that only stands."""

    def __init__(self, _model: ModelName, installed: Installed, _path: Path, _ports: Ports) -> None:
        self.installed = installed
        self.ended = False

    def stop(self) -> None:
        self.ended = True


def test_a_model_has_one_shadow_at_most_and_follows_its_slot(tmp_path: Path) -> None:
    begun: list[Begun] = []

    def begin(*given: Any) -> Any:
        begun.append(Begun(*given))
        return begun[-1]

    ports = Ports(
        ShadowSettings(), SystemClock(None), Kept(), tmp_path, RuntimeSettings(), 60.0, lambda _offered: None
    )  # fmt: skip
    device = Shadows(ports, begin=begin)
    other = Installed(Digest("ef" * 32), 3)
    for wanted in (None, SHADOW, SHADOW, other, None):
        device.follow(MODEL, None if wanted is None else (wanted, tmp_path))
    assert [one.installed for one in begun] == [SHADOW, other]
    assert all(one.ended for one in begun)
    off = Shadows(replace(ports, settings=ShadowSettings(enabled=False)), begin=begin)
    off.follow(MODEL, (SHADOW, tmp_path))
    assert len(begun) == 2
    assert off.standing(MODEL) is None


def test_the_real_program_starts_without_a_word(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [
                sys.executable, "-m", "sprat_device.inference.shadowing.program", "--fd", str(theirs.fileno()),
                "--bundle", str(tmp_path / "absent.sprat"), "--digest", "0" * 64, "--cache", str(tmp_path),
                "--memory", "100000000",
                "--runtime", json.dumps(asdict(RuntimeSettings())), "--parent", str(os.getpid()),
            ],
            pass_fds=[theirs.fileno()], capture_output=True, text=True, timeout=LONG_S, check=False,
        )  # fmt: skip
        said = Wire(ours).receive()
    assert (done.returncode, done.stderr) == (REFUSED, "")
    assert said["refused"] == "not-loaded"
    assert "absent.sprat" in said["detail"]
