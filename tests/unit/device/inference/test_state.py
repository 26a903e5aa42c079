"""What an artifact keeps between two readings: nothing, kernels that are cleared, or a stream that is restarted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.device.inference.bundles import BASELINE, DIGEST, INPUT, OUTPUT, Arrays, manifest

from sprat_device.contract.errors import ContractError
from sprat_device.contract.manifest import Golden, State, TensorSpec, parse
from sprat_device.contract.records import NO_LABEL
from sprat_device.inference.golden import run_rows
from sprat_device.inference.runtimes.raw import RawTensor
from sprat_device.inference.session import Session

ROWS = {"x": np.ones((6, 3), np.float32)}


class Counting:
    """Adds up what it was given, as a model with state does."""

    version = "1.0"
    inputs = (RawTensor("x", "float32", (1, 3)),)
    outputs = (RawTensor("y", "float32", (1, 3)),)

    def __init__(self) -> None:
        self.memory = self.variable = np.zeros((1, 3), np.float32)

    def run(self, inputs: Arrays) -> Arrays:
        self.memory = self.memory + inputs["x"]
        self.variable = self.variable + inputs["x"]
        return {"y": np.concatenate([self.memory[:, :1], self.variable[:, :2]], axis=1)}

    def clear(self) -> None:
        self.memory = np.zeros((1, 3), np.float32)

    def restart(self) -> None:
        self.memory = self.variable = np.zeros((1, 3), np.float32)


def opened(state: State, *, rows: int = 0) -> Session:
    described = manifest()
    golden = replace(described.golden, sequence_rows=rows)
    return Session(
        Counting(), replace(described, state=state, golden=golden), DIGEST, runtime="onnx", baseline=BASELINE
    )  # fmt: skip


def test_a_kernels_memory_is_empty_before_each_reading() -> None:
    found = run_rows(opened(State.CLEARED), ROWS)["y"]
    assert found[:, 0].tolist() == [1] * 6


def test_a_stream_goes_on_from_reading_to_reading_and_starts_anew_with_each_sequence() -> None:
    assert run_rows(opened(State.KEPT), ROWS)["y"][:, 1].tolist() == [1, 2, 3, 4, 5, 6]
    session = opened(State.KEPT, rows=3)
    assert run_rows(session, ROWS)["y"][:, 1].tolist() == [1, 2, 3, 1, 2, 3]
    assert run_rows(session, ROWS)["y"][:, 1].tolist() == [1, 2, 3, 1, 2, 3]


def test_a_reset_of_a_model_without_state_does_nothing() -> None:
    session = opened(State.NONE)
    session.run_raw({"x": ROWS["x"][:1]})
    session.reset()
    assert session.run_raw({"x": ROWS["x"][:1]})["y"][0, 0] == 2


def test_the_manifest_tells_the_state_and_an_old_one_has_none() -> None:
    described = replace(
        manifest(), state=State.KEPT, golden=Golden(6, manifest().golden.sha256, {}, {}, sequence_rows=3)
    )
    raw = described.dump()
    assert parse(raw) == described
    old = raw.replace(b' "state": "kept",\n', b"").replace(b'  "sequence_rows": 3,\n', b"")
    assert len(old) < len(raw)
    assert parse(old).state is State.NONE
    assert parse(old).golden.sequence_rows == 0
    with pytest.raises(ContractError, match="state"):
        parse(raw.replace(b'"kept"', b'"somehow"'))


def test_values_of_several_outputs_follow_each_other() -> None:
    class Two(Counting):
        outputs = (RawTensor("y", "float32", (1, 3)), RawTensor("z", "int8", (1, 2), scale=0.5))

        def run(self, inputs: Arrays) -> Arrays:
            return {"y": inputs["x"], "z": np.array([[2, 4]], np.int8)}

    described = manifest(
        inputs=(INPUT,),
        outputs=(replace(OUTPUT, meaning="values"), TensorSpec("z", "int8", (1, 2), scale=0.5, meaning="values")),
    )
    session = Session(Two(), described, DIGEST, runtime="onnx", baseline=BASELINE)
    answer = session.predict({"x": np.array([1, 2, 3], np.float32)})
    assert answer.label == NO_LABEL
    assert answer.outputs.tolist() == [1, 2, 3, 1, 2]
