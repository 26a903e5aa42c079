"""Captures: which rule keeps what, the budget of a day, redaction that fails closed, and a loop that never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.faults.disk import FullDisk
from tests.unit.device.inference.bundles import DIGEST, INPUT, manifest, session

from sprat_device.board.days import Moment
from sprat_device.board.files import OsFiles
from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.contract import capture as captures
from sprat_device.contract.bundle import Baseline
from sprat_device.contract.capture import Capture, Rule, Wish
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import Task, TensorSpec
from sprat_device.contract.records import Origin, Prediction
from sprat_device.contract.sketch import Histogram
from sprat_device.inference.capturing import Capturer, CaptureWatcher, Offered
from sprat_device.inference.capturing.budget import Budget
from sprat_device.inference.capturing.capturer import limits
from sprat_device.inference.capturing.redact import Redaction, RedactionFailed
from sprat_device.inference.capturing.rules import Rules
from sprat_device.inference.capturing.unusual import Fences
from sprat_device.inference.sources.reading import Reading

ORIGIN = Origin(ModelName("tiny"), 4, DIGEST, "door")
MIDNIGHT = 1_760_054_400_000_000  # 2025-10-10 00:00 UTC
DAY_S = 86_400
EVERY = frozenset(Rule)
ON = CaptureSettings(enabled=True, random_rate=0.0, labels=("high",))


def reading(*values: float, index: int = 7) -> Reading:
    return Reading(index, 1_000_000, 2_000_000, {"x": np.array(values or (5.0, 5.0, 5.0), np.float32)})


def prediction(*scores: float, label: int = 0, index: int = 7) -> Prediction:
    return Prediction(index, 1_000_000, 2_000_000, label, np.array(scores or (0.9, 0.06, 0.04), np.float32), 12)


def frozen(**statistics: np.ndarray) -> Baseline:
    rows = np.random.default_rng(1).normal(5, 1, 2000)
    edges = np.quantile(rows, np.linspace(0.1, 0.9, 9))
    counts = Histogram.empty(edges)
    counts.add(rows)
    return Baseline(
        {"a": edges}, {"a": counts.counts}, np.array([1, 1, 1]),
        statistics, {name: np.zeros(len(array) + 1, np.int64) for name, array in statistics.items()},
    )  # fmt: skip


def chosen(settings: CaptureSettings, read: Reading, predicted: Prediction, **facts: Any) -> str:
    described = manifest(**facts)
    rules = Rules.of(session(described=described, baseline=frozen()), settings, lambda: 0.5)
    kept = rules.choose(read, predicted, EVERY)
    return "" if kept is None else f"{kept.rule} {kept.why}".strip()


@pytest.mark.parametrize(
    ("settings", "read", "predicted", "kept"),
    [
        (ON, reading(), prediction(), ""),
        (ON, reading(), prediction(0.5, 0.3, 0.2), "uncertain"),
        (ON, reading(), prediction(0.61, 0.3, 0.09), ""),
        (replace(ON, margin_below=0.2), reading(), prediction(0.62, 0.02, 0.36, label=0), ""),
        (replace(ON, margin_below=0.3), reading(), prediction(0.62, 0.02, 0.36, label=0), "uncertain"),
        (ON, reading(), prediction(label=2), "label"),
        (ON, reading(9.5, 5, 5), prediction(), "unusual a"),
        (ON, reading(0.4, 5, 5), prediction(0.5, 0.3, 0.2), "unusual a"),
        (ON, reading(5, 9.9, 0.1), prediction(), ""),
        (replace(ON, unusual_factor=3.0), reading(9.5, 5, 5), prediction(), ""),
        (replace(ON, random_rate=0.6), reading(9.5, 5, 5), prediction(label=2), "random"),
        (replace(ON, random_rate=0.4), reading(), prediction(), ""),
    ],
)
def test_each_rule_keeps_its_own(settings: CaptureSettings, read: Reading, predicted: Prediction, kept: str) -> None:
    assert chosen(settings, read, predicted) == kept


def test_an_anomaly_is_unusual_by_its_score_and_values_are_never_uncertain() -> None:
    score = TensorSpec("y", "float32", (1, 1), meaning="score", threshold=0.5)
    facts: dict[str, Any] = {"outputs": (score,), "labels": ("normal", "odd"), "task": Task.ANOMALY}
    assert chosen(ON, reading(), prediction(0.7, label=1), **facts) == "unusual score"
    assert chosen(ON, reading(), prediction(0.2, label=0), **facts) == ""


def test_a_rule_without_budget_does_not_keep_what_another_one_may() -> None:
    rules = Rules.of(session(baseline=frozen()), ON, lambda: 0.5)
    kept = rules.choose(reading(9.5, 5, 5), prediction(0.5, 0.3, 0.2), frozenset({Rule.UNCERTAIN}))
    assert kept is not None
    assert kept.rule is Rule.UNCERTAIN


def test_a_dark_image_is_unusual_and_a_feature_of_few_values_has_no_fence() -> None:
    image = TensorSpec("image", "float32", (1, 8, 8, 1))
    baseline = frozen(**{"mean:image": np.linspace(90, 160, 9), "std:image": np.array([10.0, 20.0])})
    fences = Fences(manifest(inputs=(image, INPUT)), baseline, factor=1.0)
    for value, why in ((120.0, ""), (5.0, "mean:image"), (250.0, "mean:image")):
        inputs = {"image": np.full((8, 8, 1), value, np.float32), "x": np.full(3, 5.0, np.float32)}
        assert fences.outside(inputs, 0) == why


# The budget


def budget(folder: Path, **limit: int) -> Budget:
    return Budget(OsFiles(), folder / "budget.json", {Rule(name): size for name, size in limit.items()})


def at(wall_us: int) -> Moment:
    """Return a moment of a machine that has been on since midnight."""
    return Moment(wall_us - MIDNIGHT, wall_us, True, "boot")


def test_a_share_opens_over_the_day_and_ends_with_it(tmp_path: Path) -> None:
    mine = budget(tmp_path, random=1000, label=500)
    assert mine.spend(Rule.RANDOM, 100, now=at(MIDNIGHT))
    assert not mine.spend(Rule.RANDOM, 1, now=at(MIDNIGHT))
    assert mine.open(at(MIDNIGHT)) == {Rule.LABEL}
    noon = MIDNIGHT + DAY_S * 500_000
    assert mine.spend(Rule.RANDOM, 500, now=at(noon))
    assert not mine.spend(Rule.RANDOM, 1, now=at(noon))
    assert not mine.spend(Rule.UNUSUAL, 1, now=at(noon))
    assert mine.spend(Rule.RANDOM, 400, now=at(MIDNIGHT + DAY_S * 999_000))
    assert mine.spend(Rule.RANDOM, 100, now=at(MIDNIGHT + DAY_S * 1_000_000)), "a new day"


def test_what_is_spent_survives_a_restart_at_any_moment(tmp_path: Path) -> None:
    late = MIDNIGHT + DAY_S * 950_000
    spent = 0
    while budget(tmp_path, random=1000).spend(Rule.RANDOM, 10, now=at(late)):
        spent += 10
    assert 100 <= spent <= 1000
    assert not budget(tmp_path, random=1000).open(at(late))
    assert budget(tmp_path, random=1000).open(at(late + DAY_S * 1_000_000))


def test_a_clock_that_jumps_grants_no_bytes_before_a_day_has_passed(tmp_path: Path) -> None:
    clock = ManualClock(wall_us=MIDNIGHT + DAY_S * 950_000)

    def taken(mine: Budget) -> int:
        found = 0
        while mine.spend(Rule.RANDOM, 10, now=Moment.of(clock)):
            found += 10
        return found

    assert taken(budget(tmp_path, random=1000)) == 1000
    for days in (1, -1, 1, 300, -300, -1):
        clock.jump(DAY_S * days)
        clock.advance(600)
        assert taken(budget(tmp_path, random=1000)) == 0, "the agent began anew, the machine did not"
    clock.advance(DAY_S)
    clock.jump(DAY_S * 2)
    assert taken(budget(tmp_path, random=1000)) >= 900
    clock.reboot()
    clock.jump(DAY_S)
    assert taken(budget(tmp_path, random=1000)) >= 900, "while it was off nobody counted"
    clock.jump(DAY_S)
    assert taken(budget(tmp_path, random=1000)) == 0


def test_a_lease_spares_the_disk(tmp_path: Path) -> None:
    mine, writes = budget(tmp_path, random=32_000), 0
    late = MIDNIGHT + DAY_S * 950_000
    before = b""
    for _ in range(3200):
        assert mine.spend(Rule.RANDOM, 10, now=at(late))
        now = (tmp_path / "budget.json").read_bytes()
        writes += now != before
        before = now
    assert writes <= 33


def test_shares_beyond_the_whole_are_scaled_and_a_share_of_nothing_is_off() -> None:
    wide = replace(ON, daily_bytes=1000, share_random=1.0, share_label=1.0, share_unusual=0, share_uncertain=0)
    assert limits(replace(wide, share_shadow=0)) == {Rule.RANDOM: 500, Rule.LABEL: 500}
    assert Rule.LABEL not in limits(replace(wide, labels=()))


# Redaction


def blurred(_model: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    inputs["x"][:] = 0
    return inputs


def test_a_hook_changes_what_is_sent_and_not_what_others_look_at() -> None:
    read = reading(1, 2, 3)
    sent = Redaction({"blur": blurred}).apply("tiny", read.inputs)
    assert sent["x"].tolist() == [0, 0, 0]
    assert read.inputs["x"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("returned", [None, {}, {"y": np.ones(1)}, 7])
def test_a_hook_that_returns_no_reading_drops_it(returned: Any) -> None:
    with pytest.raises(RedactionFailed, match="hook 'odd'"):
        Redaction({"odd": lambda _model, _inputs: returned}).apply("tiny", reading().inputs)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, asyncio.CancelledError])
def test_a_hook_that_raises_whatever_drops_it(raised: type[BaseException]) -> None:
    def fail(_model: str, _inputs: Mapping[str, np.ndarray]) -> Any:
        raise raised("words that it was to hide")

    with pytest.raises(RedactionFailed, match=f"hook 'odd': {raised.__name__}$"):
        Redaction({"odd": fail}).apply("tiny", reading().inputs)


# The capturer


class Kept:
    """A recorder that keeps what it is given, and can be waited for."""

    def __init__(self) -> None:
        self.captures: list[tuple[Mapping[str, object], str]] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.arrived = threading.Semaphore(0)

    def capture(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        assert (code, model) == (captures.CODE, "tiny")
        self.captures.append((detail, bundle))
        self.arrived.release()

    def event(self, code: str, detail: Mapping[str, object], *, model: str = "", bundle: str = "") -> None:
        self.events.append((code, detail))
        self.arrived.release()


class Rig:
    def __init__(self, folder: Path, settings: CaptureSettings = ON, *, files: Any = None) -> None:
        self.clock = ManualClock(wall_us=MIDNIGHT + DAY_S * 950_000)
        self.recorder = Kept()
        self.capturer = Capturer(settings, self.recorder, self.clock, files or OsFiles(), folder)

    def __enter__(self) -> Rig:
        self.capturer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.capturer.stop()

    def offer(self, rule: Rule = Rule.UNCERTAIN, *, read: Reading | None = None) -> None:
        self.capturer.offer(Offered(rule, ORIGIN, read or reading(1, 2, 3), prediction()))

    def wait(self) -> None:
        assert self.recorder.arrived.acquire(timeout=20)


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())


class Entry:
    def __init__(self, name: str, hook: Any) -> None:
        self.name, self._hook = name, hook

    def load(self) -> Any:
        if isinstance(self._hook, Exception):
            raise self._hook
        return self._hook


def with_hooks(monkeypatch: pytest.MonkeyPatch, **hooks: Any) -> None:
    entries = [Entry(name, hook) for name, hook in hooks.items()]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == "sprat.redact" else ())


def test_a_capture_holds_the_reading_its_answer_and_why(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.capturer.offer(
            Offered(Rule.SHADOW, ORIGIN, reading(1, 2, 3), prediction(label=1), "", "cd" * 32, shadow_label=2)
        )
        rig.wait()
    detail, bundle = rig.recorder.captures[0]
    found = captures.parse(detail)
    assert (found.rule, found.index, found.release_seq, found.label) == (Rule.SHADOW, 7, 4, 1)
    assert (found.shadow, found.shadow_label, found.input, bundle) == ("cd" * 32, 2, "door", DIGEST)
    assert found.inputs["x"].tolist() == [1, 2, 3]
    assert found.outputs == pytest.approx((0.9, 0.06, 0.04))


def test_a_capture_holds_what_came_not_what_the_bundle_made_of_it(tmp_path: Path) -> None:
    made = reading(1, 2, 3)._replace(raw={"x": np.array([100, 200, 255], np.uint8)})
    with Rig(tmp_path) as rig:
        rig.offer(read=made)
        rig.wait()
    detail, _bundle = rig.recorder.captures[0]
    assert captures.parse(detail).inputs["x"].tolist() == [100, 200, 255]


def test_nothing_is_captured_unless_the_device_says_so(tmp_path: Path) -> None:
    with Rig(tmp_path, CaptureSettings()) as rig:
        rig.offer()
        assert not rig.capturer.apply(Wish(labels=("high",)))
        assert rig.capturer.allowed == frozenset()
    assert rig.recorder.captures == []


def test_a_hub_tunes_only_where_it_may_and_never_beyond_the_budget(tmp_path: Path) -> None:
    wish = Wish(labels=("low",), uncertain_below=0.9, random_rate=0.5, daily_bytes=10**9)
    mine = Rig(tmp_path, ON).capturer
    assert not mine.apply(wish)
    assert mine.settings == ON
    theirs = Rig(tmp_path, replace(ON, hub_may_tune=True)).capturer
    assert theirs.apply(wish)
    assert (theirs.settings.labels, theirs.settings.uncertain_below) == (("low",), 0.9)
    assert (theirs.settings.random_rate, theirs.settings.daily_bytes) == (0.5, ON.daily_bytes)
    assert theirs.apply(replace(Wish(), daily_bytes=5))
    assert (theirs.settings.labels, theirs.settings.daily_bytes) == (ON.labels, 5)


def test_the_day_ends_when_its_bytes_are_spent(tmp_path: Path) -> None:
    with Rig(tmp_path, replace(ON, daily_bytes=3000, share_uncertain=1.0, share_random=0, share_label=0,
                               share_unusual=0, share_shadow=0)) as rig:  # fmt: skip
        for _ in range(100):
            if Rule.UNCERTAIN not in rig.capturer.allowed:
                break
            rig.offer()
            if not rig.recorder.arrived.acquire(timeout=1.5) and len(rig.recorder.captures) > 5:
                break
    sizes = [len(str(detail)) for detail, _bundle in rig.recorder.captures]
    assert 5 < len(sizes) < 20
    again = Rig(tmp_path, replace(ON, daily_bytes=3000, share_uncertain=1.0, share_random=0, share_label=0,
                                  share_unusual=0, share_shadow=0))  # fmt: skip
    with again:
        again.offer()
    assert again.recorder.captures == []


def test_a_capture_whose_redaction_fails_is_dropped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def leaks(_model: str, _inputs: Any) -> Any:
        raise ValueError("secret 1 2 3")

    with_hooks(monkeypatch, leaks=leaks)
    with Rig(tmp_path) as rig:
        rig.offer()
        rig.wait()
    assert rig.recorder.captures == []
    assert rig.recorder.events == [("capture-dropped", {"reasons": {"redaction": 1}})]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_installed_hooks_run_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plus(_model: str, inputs: Mapping[str, np.ndarray]) -> Any:
        return {"x": inputs["x"] + 1}

    with_hooks(monkeypatch, b_plus=plus, a_blur=blurred)
    with Rig(tmp_path, replace(ON, redact=("a_blur",))) as rig:
        rig.offer()
        rig.wait()
    found = captures.parse(rig.recorder.captures[0][0])
    assert found.inputs["x"].tolist() == [1, 1, 1]
    assert found.redacted == ("a_blur", "b_plus")


@pytest.mark.parametrize("hooks", [{}, {"blur": ImportError("no such module")}])
def test_without_a_required_hook_nothing_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hooks: dict[str, Any]
) -> None:
    with_hooks(monkeypatch, **hooks)
    with Rig(tmp_path, replace(ON, redact=("blur",))) as rig:
        rig.offer()
    assert rig.recorder.captures == []
    (code, detail) = rig.recorder.events[0]
    assert code == "capture-off"
    assert "blur" in str(detail) or "no such module" in str(detail)


def test_a_full_disk_drops_captures_and_nothing_else(tmp_path: Path) -> None:
    with Rig(tmp_path, files=FullDisk(room=0)) as rig:
        rig.offer()
        rig.wait()
    assert rig.recorder.captures == []
    assert rig.recorder.events == [("capture-dropped", {"reasons": {"disk": 1}})]


def test_what_is_too_big_for_one_record_is_dropped_and_told(tmp_path: Path) -> None:
    big = Reading(1, 1, 1, {"x": np.zeros(300_000, np.float32)})
    with Rig(tmp_path, replace(ON, daily_bytes=10**9)) as rig:
        rig.offer(read=big)
        rig.wait()
    assert rig.recorder.events == [("capture-dropped", {"reasons": {"too-big": 1}})]


def test_a_loop_never_waits_for_a_hook_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going, begun = threading.Event(), threading.Event()

    def hangs(_model: str, inputs: Any) -> Any:
        begun.set()
        assert going.wait(30)
        return inputs

    with_hooks(monkeypatch, hangs=hangs)
    with Rig(tmp_path) as rig:
        rig.offer()
        assert begun.wait(20)
        watcher = CaptureWatcher(rig.capturer, draw=lambda: 0.5)
        for index in range(500):
            watcher.answered(session(), ORIGIN, reading(index=index), prediction(0.4, 0.3, 0.3))
        assert rig.capturer._dropped["queue"] == 492
        going.set()
        while len(rig.recorder.captures) < 9:  # what was dropped arrives too, as an event
            rig.wait()


def test_a_defect_in_the_rules_ends_captures_and_not_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Rules, "choose", broken)
    with Rig(tmp_path) as rig:
        watcher = CaptureWatcher(rig.capturer)
        for _ in range(3):
            watcher.answered(session(), ORIGIN, reading(), prediction())
    assert caplog.text.count("the rules failed") == 1


def test_rules_follow_the_bundle_and_the_settings(tmp_path: Path) -> None:
    with Rig(tmp_path, replace(ON, hub_may_tune=True)) as rig:
        watcher = CaptureWatcher(rig.capturer, draw=lambda: 0.5)
        watcher.answered(session(), ORIGIN, reading(), prediction(label=2))
        rig.wait()
        other = session(described=manifest(labels=("high", "middle", "low")), digest=Digest("cd" * 32))
        watcher.answered(other, ORIGIN, reading(), prediction(label=2))
        watcher.answered(other, ORIGIN, reading(), prediction(label=0))
        rig.wait()
        rig.capturer.apply(Wish(labels=("low",)))
        watcher.answered(other, ORIGIN, reading(), prediction(label=2))
        rig.wait()
    assert [captures.parse(detail).label for detail, _bundle in rig.recorder.captures] == [2, 0, 2]


def test_text_and_numbers_come_back_as_they_were() -> None:
    inputs = {"x": np.array([[1.5, 2]], ">f4"), "t": np.array(["on", "off"]), "b": np.array([True])}
    back = captures.parse(Capture(Rule.RANDOM, 1, 1, 0, (0.5,), inputs).detail())
    assert {name: array.tolist() for name, array in back.inputs.items()} == {
        "x": [[1.5, 2]], "t": ["on", "off"], "b": [True],
    }  # fmt: skip


def test_changed_settings_count_at_once_and_forget_nothing_that_was_spent(tmp_path: Path) -> None:
    only = replace(
        ON, share_uncertain=1.0, share_random=0, share_label=0, share_unusual=0, share_shadow=0, daily_bytes=400
    )
    with Rig(tmp_path, CaptureSettings()) as rig:
        rig.offer()
        rig.capturer.configure(only)
        rig.offer()
        rig.wait()
        rig.capturer.configure(replace(only, uncertain_below=0.9))
        assert rig.capturer.allowed == {Rule.UNCERTAIN}
        rig.capturer.configure(replace(only, daily_bytes=100))
        assert rig.capturer.allowed == frozenset(), "the first capture took more than that"
        rig.capturer.configure(replace(only, enabled=False))
        rig.offer()
    assert len(rig.recorder.captures) == 1


def test_the_end_does_not_wait_for_a_hook_that_never_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    going, begun = threading.Event(), threading.Event()

    def hangs(_model: str, inputs: Any) -> Any:
        begun.set()
        going.wait(30)
        return inputs

    with_hooks(monkeypatch, hangs=hangs)
    with Rig(tmp_path) as rig:
        rig.offer()
        assert begun.wait(20)
    assert "does not come back" in caplog.text
    left_behind = rig.capturer._thread
    assert left_behind is not None
    going.set()
    left_behind.join(20)
    assert rig.recorder.captures == [], "it was switched off while the hook was at work"
