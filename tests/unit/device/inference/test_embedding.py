"""Embeddings: their figures, that few bytes of them are kept, and that they go nowhere but into drift."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.clock import ManualClock
from tests.unit.device.inference.bundles import DIGEST, INPUT, OUTPUT, KeptRecords, manifest, session

from sprat_device.board.settings import RuntimeSettings
from sprat_device.contract import embedding, summary
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.embedding import Space
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import EMBEDDING, Golden, Manifest, TensorSpec, Tolerance
from sprat_device.contract.records import Origin
from sprat_device.inference.answers import Answer
from sprat_device.inference.drift import Drift
from sprat_device.inference.golden import reproduce
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources.replay import Replay
from sprat_device.inference.tally import Tally

WIDTH = 12
SEEN = TensorSpec("seen", "float32", (1, WIDTH), meaning=EMBEDDING)
EDGES = np.array([0.5, 1.0, 2.0])
NAMES = (
    "embedding:direction[0]",
    "embedding:direction[1]",
    "embedding:distance",
    "embedding:residual",
    "embedding:norm",
)
ORIGIN = Origin(ModelName("tiny"), 1, DIGEST)
Arrays = Mapping[str, np.ndarray[Any, Any]]


def space(width: int = WIDTH) -> Space:
    rng = np.random.default_rng(2)
    directions, _ = np.linalg.qr(rng.normal(size=(width, 2)))
    return Space(
        rng.normal(size=width).astype(np.float32), directions.T.astype(np.float32), np.array([2.0, 0.5], np.float32)
    )


def baseline(found: Space | None = None, names: tuple[str, ...] = NAMES) -> Baseline:
    counts = dict.fromkeys(names, np.zeros(4, np.int64))
    return Baseline({}, {}, np.zeros(0, np.int64), dict.fromkeys(names, EDGES), counts, found or space())


def described(spec: TensorSpec = SEEN, given: TensorSpec = INPUT) -> Manifest:
    return manifest(inputs=(given,), outputs=(OUTPUT, spec))


def counted(values: np.ndarray[Any, Any]) -> tuple[int, ...]:
    return tuple(np.histogram(values, [-np.inf, *EDGES, np.inf])[0].tolist())


def by_hand(row: np.ndarray[Any, Any], found: Space) -> dict[str, float]:
    """Work the figures out as the papers write them: with covariance and projector matrices, in float64."""
    away = row.astype(np.float64) - found.mean
    basis = found.directions.astype(np.float64)
    covariance = basis.T @ np.diag(found.spreads.astype(np.float64) ** 2) @ basis
    off = (np.eye(found.width) - basis.T @ basis) @ away
    return {
        "embedding:direction[0]": float(basis[0] @ away) / float(found.spreads[0]),
        "embedding:direction[1]": float(basis[1] @ away) / float(found.spreads[1]),
        "embedding:distance": float(np.sqrt(away @ np.linalg.pinv(covariance) @ away)),
        "embedding:residual": float(np.linalg.norm(off)) / float(found.spreads[0]),
        "embedding:norm": float(np.linalg.norm(row)) / float(found.spreads[0]),
    }


def test_the_figures_are_mahalanobis_distance_residual_and_projections() -> None:
    rows = np.random.default_rng(4).normal(1, 3, (40, WIDTH)).astype(np.float32)
    found = space().figures(rows)
    expected = [by_hand(row, space()) for row in rows]
    assert set(found) == set(NAMES)
    for name, values in found.items():
        np.testing.assert_allclose(values, [one[name] for one in expected], rtol=1e-4, atol=1e-4)


def test_one_reading_has_the_same_figures_in_every_block() -> None:
    # On an edge of the baseline the last bit decides: it would be a shift that no reading made.
    rng = np.random.default_rng(6)
    wide = space(1280)
    blanks = rng.normal(0, 3, (20, 1280)).astype(np.float32)
    alone = [wide.figures(row[None]) for row in blanks]
    among = wide.figures(np.concatenate([blanks, rng.normal(0, 3, (237, 1280)).astype(np.float32)]))
    for name, values in among.items():
        np.testing.assert_array_equal(values[:20], np.concatenate([one[name] for one in alone]))


def test_another_order_of_summation_has_the_same_figures() -> None:
    # As on another processor, whose registers hold more or fewer numbers: there the build froze the edges.
    rng = np.random.default_rng(6)
    wide, order = space(1280), rng.permutation(1280)
    other = Space(wide.mean[order], wide.directions[:, order].copy(), wide.spreads)
    rows = rng.normal(0, 3, (40, 1280)).astype(np.float32)
    shuffled = other.figures(rows[:, order].copy())
    for name, values in wide.figures(rows).items():
        np.testing.assert_array_equal(values, shuffled[name])


def test_a_device_counts_them_over_the_frozen_edges_and_two_add_up() -> None:
    rows = np.random.default_rng(4).normal(0, 1, (700, WIDTH)).astype(np.float32)
    one, two, both = (Drift(described(), baseline()) for _ in range(3))
    for place, row in enumerate(rows):
        (one if place % 3 else two).add({"x": np.zeros(3)}, 0, row)
        both.add({"x": np.zeros(3)}, 0, row)
    first, second, whole = one.take(), two.take(), both.take()
    assert {name: tuple(map(sum, zip(first[name], second[name], strict=True))) for name in whole} == whole
    assert whole == {name: counted(values) for name, values in space().figures(rows).items()}
    assert not any(sum(counts) for counts in both.take().values())


def test_a_quantized_embedding_is_brought_into_its_unit_by_the_manifest() -> None:
    spec = replace(SEEN, dtype="int8", scale=0.05, zero_point=-20)
    raw = np.random.default_rng(9).integers(-128, 128, (300, WIDTH)).astype(np.int8)
    drift = Drift(described(spec), baseline())
    for row in raw:
        drift.add({"x": np.zeros(3)}, 0, row)
    in_unit = ((raw.astype(np.float32) + 20) * np.float32(0.05)).astype(np.float32)
    assert drift.take() == {name: counted(values) for name, values in space().figures(in_unit).items()}


def looks(width: int) -> dict[str, int]:
    """Show 2,000 images within a fifth of a second, and return how many of each figure were counted."""
    image = TensorSpec("image", "float32", (1, 64, 64, 1))
    spec = replace(SEEN, shape=(1, width))
    drift = Drift(described(spec, image), baseline(space(width), names=("mean:image", "embedding:norm")))
    for place in range(2000):
        drift.add({"image": np.ones((64, 64, 1), np.float32)}, place * 100, np.ones(width, np.float32))
    return {name: sum(counts) for name, counts in drift.take().items()}


def test_of_large_readings_the_same_ones_are_looked_at_and_the_embedding_is_paid_for() -> None:
    narrow, wide = looks(4), looks(4096)
    assert 0 < narrow["embedding:norm"] == narrow["mean:image"] < 2000
    assert wide["embedding:norm"] == wide["mean:image"]
    assert wide["embedding:norm"] == pytest.approx(narrow["embedding:norm"] / 2, abs=1)


def two_outputs(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Give the reading back as scores, and an embedding made of it."""
    given = inputs["x"]
    return {"y": given, "seen": np.tile(given, WIDTH // 3) + np.arange(WIDTH, dtype=np.float32)}


def watched(function: Any = two_outputs) -> Session:
    return session(function, described(), baseline=baseline())


def readings(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(8).uniform(0, 1, (count, 3)).astype(np.float32)


def test_no_prediction_carries_it_and_the_summary_counts_it() -> None:
    rows = readings(300)
    clock, records = ManualClock(), KeptRecords()
    source = Replay({"x": rows}, clock, loop=False, sleep=lambda _s: None)
    loop = Loop(source, records, clock, lambda *_: None, summary_interval_s=60)
    loop.swap(watched(), ORIGIN)
    for _ in rows:
        assert loop.step(0)
    loop.close()
    assert {prediction.outputs.shape for _, prediction in records.predictions} == {(3,)}
    (told,) = [summary.parse(detail).drift for detail, _ in records.summaries]
    expected = space().figures(np.stack([two_outputs({"x": row[None]})["seen"][0] for row in rows]))
    assert told == {name: counted(values) for name, values in expected.items()}


def test_an_answer_that_was_known_is_looked_at_like_a_new_one() -> None:
    rows = np.repeat(readings(4), 50, axis=0)
    clock, records = ManualClock(), KeptRecords()
    source = Replay({"x": rows}, clock, loop=False, sleep=lambda _s: None)
    settings = RuntimeSettings(cache_entries=8)
    loop = Loop(source, records, clock, lambda *_: None, summary_interval_s=60, runtime=settings)
    loop.swap(watched(), ORIGIN)
    while loop.step(0):
        pass
    loop.close()
    (told,) = [summary.parse(detail) for detail, _ in records.summaries]
    assert told.cached == 196
    assert sum(told.drift["embedding:distance"]) == 200


def test_memory_is_that_of_one_block_however_many_are_seen() -> None:
    wide = 1024
    spec = replace(SEEN, shape=(1, wide))
    tally = Tally(session(two_outputs, described(spec), baseline=baseline(space(wide))), since_us=0)

    def show(count: int) -> weakref.ref[Any]:
        for place in range(count):
            answer = Answer(0, np.ones(3, np.float32), np.ones(wide, np.float32))
            tally.predicted({"x": np.ones(3, np.float32)}, answer, 1, place * 10_000_000)
        assert answer.embedding is not None
        return weakref.ref(answer.embedding)

    assert show(10)() is None, "the tally holds on to whole embeddings"
    tracemalloc.start()
    try:
        show(1014)  # blocks are empty
        before = tracemalloc.get_traced_memory()[0]
        show(2048)
        assert tracemalloc.get_traced_memory()[0] - before < 4 * 1024
    finally:
        tracemalloc.stop()


def test_without_one_in_the_manifest_nothing_goes_along() -> None:
    assert session().predict({"x": np.ones(3, np.float32)}).embedding is None
    plain = Drift(manifest(), baseline())
    plain.add({"x": np.zeros(3)}, 0)
    assert not any(sum(counts) for counts in plain.take().values())


def test_a_baseline_of_another_width_is_refused() -> None:
    with pytest.raises(BundleRefused, match=r"baseline.embedding: of 7 numbers, the output 'seen' has 12"):
        Drift(described(), baseline(space(7)))


@pytest.mark.parametrize(
    ("off", "allowed", "said"),
    [(0.4, 0.5, ""), (0.6, 0.5, "embeddings"), (np.nan, 0.5, "embeddings"), (0.0, 0.5, "")],
)
def test_the_golden_set_holds_embeddings_within_a_tolerance_of_their_own(off: float, allowed: float, said: str) -> None:
    inputs = {"x": readings(4)}
    expected = {"onnx": two_outputs(inputs)}
    tolerances, beside = {"onnx": Tolerance("absolute", 1e-6)}, {"onnx": Tolerance("absolute", allowed)}
    golden = Golden(4, DIGEST, tolerances, {}, embedding_tolerances=beside)

    def other(given: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        found = two_outputs(given)
        return {**found, "seen": found["seen"] + np.float32(off)}

    here = session(other, replace(described(), golden=golden), baseline=baseline())
    found = reproduce(here, GoldenSet(inputs, expected))
    assert (found.ok, "" if found.ok else found.what) == (not said, said)
    # Without a tolerance of its own it is an output like the others.
    strict = session(other, replace(described(), golden=replace(golden, embedding_tolerances={})), baseline=baseline())
    assert reproduce(strict, GoldenSet(inputs, expected)).ok == (off == 0)


def test_a_wrong_answer_is_told_before_a_wrong_embedding() -> None:
    inputs = {"x": readings(4)}
    golden = Golden(
        4, DIGEST, {"onnx": Tolerance("absolute", 1e-6)}, {}, embedding_tolerances={"onnx": Tolerance("absolute", 1.0)}
    )
    here = session(
        lambda given: {name: array + 9 for name, array in two_outputs(given).items()},
        replace(described(), golden=golden), baseline=baseline(),
    )  # fmt: skip
    found = reproduce(here, GoldenSet(inputs, {"onnx": two_outputs(inputs)}))
    assert (found.ok, found.what) == (False, "outputs")


def test_a_space_survives_a_write_and_what_is_broken_is_refused() -> None:
    whole = space().dump()
    again = embedding.parse(dict(whole))
    assert again is not None
    assert all(np.array_equal(again.dump()[name], array) for name, array in whole.items())
    assert embedding.parse({}) is None


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("spreads", None, "'spreads' is missing"),
        ("spreads", np.zeros(2, np.float32), "spreads above zero"),
        ("spreads", np.ones(3, np.float32), "do not fit"),
        ("mean", np.full(WIDTH, np.nan, np.float32), "finite"),
        ("mean", np.zeros(WIDTH), "float32"),
        ("mean", np.zeros((2, WIDTH), np.float32), "do not fit"),
        ("directions", np.ones((2, 4097), np.float32), "do not fit"),
        ("directions", np.ones((2, WIDTH), np.int8), "float32"),
    ],
)
def test_a_broken_space_is_refused(name: str, array: np.ndarray[Any, Any] | None, said: str) -> None:
    raw = {**space().dump(), **({} if array is None else {name: array})}
    if array is None:
        del raw[name]
    with pytest.raises(ContractError, match=said):
        embedding.parse(raw)
