"""Outputs: which predictions they are told, what a queue drops, and what a sink that fails costs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import DIGEST, OUTPUT, manifest, session

from sprat_device.board.settings import OutputSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import Task
from sprat_device.contract.records import Origin, Prediction
from sprat_device.inference.pace import Pace
from sprat_device.inference.session import Session
from sprat_device.inference.sinks import outlet as outlets
from sprat_device.inference.sinks.filter import Filter
from sprat_device.inference.sinks.mqtt import Topic
from sprat_device.inference.sinks.outlet import Outlet, Refused
from sprat_device.inference.sinks.outlets import Outlets
from sprat_device.inference.sinks.told import Told, tell
from sprat_device.inference.sinks.writing import Rotated
from sprat_device.inference.sources.mqtt import password
from sprat_device.inference.sources.reading import Reading

ORIGIN = Origin(ModelName("tiny"), 3, DIGEST, "door")
SESSION = session()
_MOST_S = 20


def prediction(label: int, sure: float = 0.9, index: int = 0) -> Prediction:
    outputs = np.full(3, (1 - sure) / 2, np.float32)
    outputs[label] = sure
    return Prediction(index, 5, 1_760_000_000_000_000, label, outputs, 42)


def settings(**given: Any) -> OutputSettings:
    return replace(OutputSettings(), **given)


def passed(found: list[Prediction], pace: Pace | None = None, of: Session = SESSION, **given: Any) -> list[int]:
    rules, pace = Filter(settings(**given)), pace or Pace(0)
    return [place for place, one in enumerate(found) if rules.passes(of, one, pace)]


def test_a_prediction_is_told_with_its_label_and_where_it_came_from() -> None:
    told = tell(SESSION, ORIGIN, prediction(2, 0.8, 7), scores=True)
    assert json.loads(told.line) == {
        "model": "tiny", "input": "door", "release": 3, "bundle": DIGEST, "index": 7, "time": 1_760_000_000.0,
        "label": "high", "confidence": 0.8, "latency_us": 42, "outputs": [0.1, 0.1, 0.8],
    }  # fmt: skip
    assert "outputs" not in tell(SESSION, ORIGIN, prediction(2), scores=False).document
    assert told.fill("{model}/{label} {confidence} {other} {") == "tiny/high 0.8 {other} {"


def test_a_model_without_probabilities_has_no_confidence() -> None:
    values = session(described=manifest(outputs=(replace(OUTPUT, meaning="values"),), labels=(), task=Task.REGRESSION))
    one = Prediction(0, 0, 0, -1, np.array([1.5, np.inf, 2.0], np.float32), 1)
    assert json.loads(tell(values, ORIGIN, one, scores=True).line)["outputs"] == [1.5, None, 2.0]
    assert tell(values, ORIGIN, one, scores=True).confidence is None
    assert passed([one], of=values) == [0]
    assert passed([one], of=values, min_confidence=0.1) == []


def test_labels_and_confidences_choose() -> None:
    found = [prediction(0, 0.5), prediction(1, 0.7), prediction(2, 0.95), prediction(2, 0.6)]
    assert passed(found) == [0, 1, 2, 3]
    assert passed(found, labels=("high", "middle")) == [1, 2, 3]
    assert passed(found, min_confidence=0.65) == [1, 2]
    assert passed(found, max_confidence=0.65) == [0, 3]


def test_on_change_an_uncertain_prediction_between_two_equal_ones_changes_nothing() -> None:
    found = [
        prediction(0),
        prediction(0),
        prediction(1, 0.4),
        prediction(0),
        prediction(1),
        prediction(1),
        prediction(0),
    ]
    assert passed(found, on="change") == [0, 2, 3, 4, 6]
    assert passed(found, on="change", min_confidence=0.5) == [0, 4, 6]
    assert passed(found, on="change", labels=("middle",)) == [2, 4]


def test_a_change_that_the_pace_held_back_is_told_by_the_next_one() -> None:
    now = 0.0
    pace = Pace(1, now_s=lambda: now)
    rules = Filter(settings(on="change"))
    assert rules.passes(SESSION, prediction(0), pace)
    assert not rules.passes(SESSION, prediction(1), pace)
    now = 1.0
    assert rules.passes(SESSION, prediction(1), pace)
    assert not rules.passes(SESSION, prediction(1), pace)


class Kept:
    """A sink that keeps what it is told, and does as the script says before."""

    def __init__(self, script: list[Any] | None = None) -> None:
        self.script = script or []
        self.given: list[int] = []
        self.opened = self.closed = 0

    def open(self) -> Kept:
        self.opened += 1
        return self

    def give(self, told: Told) -> None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()
        self.given.append(told.prediction.index)

    def close(self) -> None:
        self.closed += 1


class Events:
    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []

    def __call__(self, code: str, detail: Mapping[str, object]) -> None:
        self.told.append((code, detail))

    @property
    def codes(self) -> list[str]:
        return [code for code, _detail in self.told]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _MOST_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_slow_sink_drops_the_oldest_and_tells_how_many() -> None:
    go, busy = threading.Event(), threading.Event()
    sink, events = Kept([lambda: (busy.set(), go.wait(_MOST_S))]), Events()
    made = Outlet(settings(kind="file", name="log", queue=4), sink.open, events)
    made.answered(SESSION, ORIGIN, prediction(0, index=0))
    assert busy.wait(_MOST_S)
    for index in range(1, 101):
        made.answered(SESSION, ORIGIN, prediction(0, index=index))  # none of them waits
    go.set()
    wait_until(lambda: len(sink.given) == 5)
    made.close(1)
    assert sink.given == [0, 97, 98, 99, 100]
    assert events.told == [("sink-overflow", {"output": "log", "kind": "file", "dropped": 96})]


def test_what_a_sink_that_hangs_costs_is_told_while_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_TOLD_EACH_S", 0.05)
    go, busy = threading.Event(), threading.Event()
    sink, events = Kept([lambda: (busy.set(), go.wait())]), Events()
    made = Outlet(settings(kind="file", name="log", queue=4), sink.open, events)
    made.answered(SESSION, ORIGIN, prediction(0))
    assert busy.wait(_MOST_S)
    until = time.monotonic() + _MOST_S
    while "sink-overflow" not in events.codes and time.monotonic() < until:
        made.answered(SESSION, ORIGIN, prediction(0))
        time.sleep(0.005)
    assert "sink-overflow" in events.codes
    go.set()
    made.close(1)


def test_a_sink_that_breaks_is_told_once_and_tried_again_with_the_same_prediction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outlets, "_LEAST_S", 0.001)
    monkeypatch.setattr(outlets, "_MOST_S", 0.01)
    sink, events = Kept([OSError("no disk"), OSError("no disk"), None, Refused("not this one")]), Events()
    made = Outlet(settings(), sink.open, events)
    for index in range(3):
        made.answered(SESSION, ORIGIN, prediction(0, index=index))
    wait_until(lambda: sink.given == [0, 2])
    made.close(1)
    assert (sink.opened, sink.closed) == (3, 3)
    assert events.codes == ["sink-failed", "sink-back", "sink-refused"]
    assert events.told[0][1]["detail"] == "no disk"


def test_a_sink_that_works_every_other_time_is_not_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_LEAST_S", 0.0)
    sink, events = Kept([OSError("away"), None] * 50), Events()
    made = Outlet(settings(), sink.open, events)
    for index in range(50):
        made.answered(SESSION, ORIGIN, prediction(0, index=index))
    wait_until(lambda: len(sink.given) == 50)
    made.close(1)
    assert events.codes == ["sink-failed", "sink-back"] * 4


def test_what_is_too_old_is_not_given_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "_LEAST_S", 1.0)
    sink, events = Kept([OSError("away")]), Events()
    monkeypatch.setattr(outlets.random, "random", lambda: 1.0)
    made = Outlet(settings(max_age_s=3600), sink.open, events)
    made.answered(SESSION, ORIGIN, prediction(0, index=0))
    wait_until(lambda: not sink.script)  # tried once; before it is tried again, it is too old
    made._settings = replace(made._settings, max_age_s=0.0)
    wait_until(lambda: not made._queue)
    made._settings = replace(made._settings, max_age_s=3600)
    made.answered(SESSION, ORIGIN, prediction(0, index=1))
    wait_until(lambda: sink.given == [1])
    made.close(1)
    assert ("sink-overflow", {"output": "", "kind": "stdout", "dropped": 1}) in events.told


def test_an_end_gives_what_waits_and_leaves_a_sink_that_hangs_behind() -> None:
    sink, events = Kept(), Events()
    made = Outlet(settings(), sink.open, events)
    for index in range(50):
        made.answered(SESSION, ORIGIN, prediction(0, index=index))
    made.close(_MOST_S)
    assert sink.given == list(range(50))
    stuck = threading.Event()
    hanging = Kept([stuck.wait])
    other = Outlet(settings(), hanging.open, events)
    other.answered(SESSION, ORIGIN, prediction(0))
    wait_until(lambda: not hanging.script)
    other.close(0.05)  # comes back although the sink does not
    assert hanging.given == []
    stuck.set()


def test_outputs_follow_changed_settings_and_choose_by_model_and_input(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    wanted = settings(kind="file", path=str(path), model="tiny", input="door", scores=False)
    told = Outlets([wanted], Events())
    reading = Reading(0, 0, 0, {})
    told.answered(SESSION, ORIGIN, reading, prediction(0, index=1))
    told.answered(SESSION, ORIGIN._replace(input="window"), reading, prediction(0, index=2))
    told.answered(SESSION, ORIGIN._replace(model=ModelName("other")), reading, prediction(0, index=3))
    same = told._running[0][1]
    told.follow([wanted, settings(kind="file", path=str(tmp_path / "all.jsonl"))])
    assert told._running[0][1] is same
    told.answered(SESSION, ORIGIN._replace(input="window"), reading, prediction(1, index=4))
    told.close(_MOST_S)
    told.answered(SESSION, ORIGIN, reading, prediction(0, index=5))
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [1]
    assert [json.loads(line)["index"] for line in (tmp_path / "all.jsonl").read_text().splitlines()] == [4]


def test_a_file_is_rotated_by_its_size_and_every_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [tell(SESSION, ORIGIN, prediction(0, index=index), scores=False) for index in range(40)]
    size = len(lines[0].line)
    for one in lines:
        file = Rotated(path, max_bytes=4 * size + 3, keep=3)  # opened anew each time, as after a restart
        file.give(one)
        file.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.jsonl", *(f"out.jsonl.{n}" for n in (1, 2, 3))]
    held = [
        json.loads(line)["index"]
        for name in (".3", ".2", ".1", "")
        for line in Path(f"{path}{name}").read_text().splitlines()
    ]
    assert held == list(range(held[0], 40))
    assert all(Path(f"{path}{name}").stat().st_size <= 4 * size + 3 for name in ("", ".1", ".2", ".3"))


def test_a_password_that_is_no_text_is_trouble_that_may_pass(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"gr\xfc\xdfe\n")
    with pytest.raises(OSError, match="no text in UTF-8"):
        password(str(file))
    with pytest.raises(OSError, match="no text in UTF-8"):
        Topic(replace(OutputSettings(), kind="mqtt", host="127.0.0.1", username="me", password_file=str(file)))
    assert password("") is None
