"""`up/live`: the newest prediction of each input, with its label's name and not too often."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.device.inference.bundles import manifest, session

from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.manifest import Task
from sprat_device.contract.records import NO_LABEL, Origin, Prediction
from sprat_device.inference.live import Live
from sprat_device.inference.sources.reading import Reading

ORIGIN = Origin(ModelName("digits"), 3, Digest("ab" * 32))


class World:
    def __init__(self, per_s: float) -> None:
        self.now_s = 100.0
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.live = Live(lambda name, raw: self.said.append((name, json.loads(raw))), per_s, now_s=lambda: self.now_s)
        described = replace(manifest(), task=Task.CLASSIFICATION, labels=("cat", "dog", "fox"))
        self.session = session(described=described)

    def predict(self, index: int, outputs: list[float], *, label: int = 1, origin: Origin = ORIGIN) -> None:
        made = Prediction(index, 5, 1_700_000_000_000_000, label, np.array(outputs, np.float32), 42)
        self.live.answered(self.session, origin, Reading(0, 0, 0, {}), made)


def test_off_is_silent() -> None:
    world = World(0)
    world.predict(1, [0.1, 0.8, 0.1])
    assert world.said == []


def test_it_names_the_label_and_what_it_is_of() -> None:
    world = World(2)
    world.predict(7, [0.1, 0.8, 0.1])
    ((name, document),) = world.said
    assert name == "digits"
    assert (document["schema"], document["label"], document["index"], document["release"]) == (
        "sprat.live/1",
        "dog",
        7,
        3,
    )
    assert document["outputs"] == pytest.approx([0.1, 0.8, 0.1])
    assert document["time"] == 1_700_000_000


def test_it_keeps_its_pace_for_each_input() -> None:
    world = World(2)
    for step in range(40):
        world.predict(step, [0.1, 0.8, 0.1])
        world.predict(step, [0.1, 0.8, 0.1], origin=ORIGIN._replace(input="left"))
        world.now_s += 0.05
    indices = {name: [document["index"] for said, document in world.said if said == name] for name, _ in world.said}
    assert list(indices) == ["digits", "digits/left"]
    for told in indices.values():
        assert 4 <= len(told) <= 5
    world.now_s += 60
    world.said.clear()
    for step in range(10):
        world.predict(100 + step, [0.1, 0.8, 0.1])
    assert [document["index"] for _, document in world.said] == [100]  # no burst after a silence


def test_another_pace_applies_at_once() -> None:
    world = World(0.01)
    world.predict(1, [0.1, 0.8, 0.1])
    world.live.configure(0)
    world.predict(2, [0.1, 0.8, 0.1])
    world.live.configure(100)
    world.predict(3, [0.1, 0.8, 0.1])
    assert [document["index"] for _, document in world.said] == [1, 3]


def test_what_json_has_no_word_for_and_what_is_too_wide() -> None:
    world = World(100)
    world.predict(1, [float("nan"), float("inf"), 0.5], label=NO_LABEL)
    world.now_s += 1
    world.predict(2, [0.0] * 65, label=NO_LABEL)
    first, second = (document for _, document in world.said)
    assert (first["label"], first["outputs"]) == (None, [None, None, 0.5])
    assert "outputs" not in second
