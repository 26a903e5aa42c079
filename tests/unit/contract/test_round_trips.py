"""What is written is read back the same, for any value that the types allow."""

from __future__ import annotations

import json
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import frames

from sprat_device.contract import (
    acks,
    capture,
    enrolment,
    frame,
    manifest,
    records,
    release,
    shadow,
    summary,
    topics,
    twin,
)
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.last_errors import LastError
from sprat_device.contract.phases import ClockState, InstallPhase, Lane
from sprat_device.contract.sketch import Histogram, LogHistogram, merged, psi

U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda n: n not in {"hub", "all"})
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
TEXTS = st.text(max_size=40)
COUNTS = st.integers(0, 2**40)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EXTRA = st.dictionaries(st.from_regex(r"later_[a-z]{1,6}", fullmatch=True), PLAIN, max_size=3)


HEADERS = st.builds(
    frame.FrameHeader, st.sampled_from(Lane), U64, U64, st.integers(1, frame.MAX_RECORDS), st.binary(min_size=16, max_size=16),
    U64, U64, I64, I64, st.sampled_from(ClockState), st.builds(frame.Ledger, U64, U64, U64, U64),
)  # fmt: skip


@given(HEADERS, st.binary(max_size=200))
def test_frames(header: frame.FrameHeader, body: bytes) -> None:
    raw = frame.seal(header, body)
    found = frame.open_frame(raw)
    assert (found.header, found.body, found.raw) == (replace(header, body_size=len(body)), body, raw)
    assert frame.peek(raw)[0] == found.header


@given(
    st.lists(
        st.tuples(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(-1, 2**15 - 1), st.integers(0, 2**40)),
        min_size=1, max_size=30,
    ),
    st.integers(1, 12),
    st.booleans(),
)  # fmt: skip
def test_predictions(rows: list[tuple[int, int, int, int]], width: int, scores: bool) -> None:
    outputs = np.linspace(0, 1, width, dtype=np.float32)
    made = [records.Prediction(i, mono, 0, label, outputs, latency) for i, mono, label, latency in rows]
    body = records.encode_predictions(frames.ORIGIN, made, scores=scores)
    found = records.decode(body, count=len(made))
    assert isinstance(found, records.PredictionColumns)
    assert found.origin == frames.ORIGIN
    assert found.index.tolist() == [row[0] for row in rows]
    assert found.mono_us.tolist() == [row[1] for row in rows]
    assert found.label.tolist() == [row[2] for row in rows]
    assert found.latency_us.tolist() == [min(row[3], 2**32 - 1) for row in rows]
    np.testing.assert_allclose(found.outputs, np.tile(outputs, (len(rows), 1)), atol=5e-4 if scores else 0)


@given(
    st.lists(
        st.builds(
            records.Row, TEXTS, st.integers(0, 2**62), st.integers(-(2**61), 2**61),
            st.dictionaries(TEXTS, PLAIN, max_size=3), NAMES, st.just("ab" * 32),
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_rows(rows: list[records.Row]) -> None:
    assert records.decode(records.encode_rows(rows), count=len(rows)) == tuple(rows)


@given(
    st.builds(
        acks.Ack,
        U64,
        st.sampled_from(Lane),
        st.lists(st.tuples(COUNTS, COUNTS).map(sorted).map(tuple)).map(tuple),
        st.booleans(),
    )
)
def test_acks(ack: acks.Ack) -> None:
    assert acks.parse(ack.dump()) == ack


SHARES = st.floats(0, 1)
OFFERS = st.builds(twin.Offer, TEXTS, NAMES.map(Channel), st.integers(1, 2**40), NAMES, DIGESTS)
DESIRED = st.builds(
    twin.Desired, TEXTS, COUNTS, st.dictionaries(NAMES, OFFERS, max_size=3), st.dictionaries(NAMES, OFFERS, max_size=1),
    st.builds(twin.TelemetrySettings, st.none() | st.sampled_from(twin.Detail), st.none() | COUNTS),
    st.dictionaries(TEXTS, PLAIN, max_size=2), st.text(max_size=16),
    st.dictionaries(TEXTS, st.sampled_from(twin.InputMode), max_size=2),
    st.builds(
        capture.Wish, st.none() | st.lists(TEXTS, max_size=2).map(tuple), st.none() | SHARES, st.none() | SHARES,
        st.none() | COUNTS,
    ),
    EXTRA,
)  # fmt: skip
INSTALLS = st.builds(twin.InstallReport, st.sampled_from(InstallPhase), COUNTS, TEXTS, TEXTS, TEXTS, TEXTS, COUNTS)
SHADOWS = st.builds(twin.ShadowReport, INSTALLS, st.text(max_size=32), TEXTS, TEXTS, COUNTS, COUNTS, COUNTS)
INSTALLED = st.none() | st.builds(twin.Installed, DIGESTS, COUNTS)
REPORTED = st.builds(
    twin.Reported, COUNTS, TEXTS, COUNTS, TEXTS, TEXTS, st.text(max_size=32), TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=2),
    st.dictionaries(
        NAMES,
        st.builds(
            twin.ModelReport, INSTALLED, INSTALLED,
            INSTALLS, TEXTS, COUNTS, COUNTS, st.none() | SHADOWS,
        ),
        max_size=2,
    ),
    st.dictionaries(
        st.sampled_from([str(lane) for lane in Lane]),
        st.builds(twin.LaneReport, st.just("0" * 16), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), max_size=2,
    ),
    st.lists(
        st.builds(LastError, st.text(max_size=64), TEXTS, TEXTS, st.integers(1, 2**40), COUNTS, COUNTS), max_size=2
    ).map(tuple),
    st.dictionaries(TEXTS, TEXTS, max_size=2), EXTRA,
)  # fmt: skip


@given(DESIRED)
def test_desired(desired: twin.Desired) -> None:
    assert twin.parse_desired(desired.dump()) == desired


@given(REPORTED)
def test_reported(reported: twin.Reported) -> None:
    assert twin.parse_reported(reported.dump()) == reported


@given(st.builds(twin.Presence, st.booleans(), TEXTS))
def test_presence(presence: twin.Presence) -> None:
    assert twin.parse_presence(presence.dump()) == presence


VERSIONS = st.dictionaries(
    st.sampled_from(["tflite", "litert", "onnx"]), st.text("0123456789.", max_size=8), min_size=1
)
RELEASES = st.builds(
    release.Release, NAMES.map(ModelName), NAMES, st.integers(1, 2**40), TEXTS, VERSIONS, st.lists(TEXTS, max_size=2).map(tuple),
    COUNTS, COUNTS, COUNTS, COUNTS, st.lists(TEXTS, max_size=2).map(tuple), st.dictionaries(TEXTS, PLAIN, max_size=1),
    st.dictionaries(TEXTS, PLAIN, max_size=1), EXTRA,
)  # fmt: skip


@given(RELEASES)
def test_releases(signed: release.Release) -> None:
    assert release.parse(json.loads(json.dumps(signed.dump()))) == signed


NUMBERS = st.floats(-1e9, 1e9)
TENSORS = st.builds(
    manifest.TensorSpec, TEXTS, st.sampled_from(["int8", "float32"]), st.just((1, 4)), NUMBERS, st.integers(-128, 127), TEXTS,
    NUMBERS, NUMBERS, st.sampled_from([(), ("a", "b", "c", "d")]), TEXTS,
)  # fmt: skip
TOLERANCES = st.dictionaries(
    TEXTS, st.builds(manifest.Tolerance, st.sampled_from(["lsb", "absolute"]), st.floats(0, 9)), max_size=2
)
MANIFESTS = st.builds(
    manifest.Manifest, NAMES.map(ModelName), NAMES, st.sampled_from(manifest.Task),
    st.builds(manifest.Artifact, st.just("model.onnx"), st.just(manifest.Format.ONNX), DIGESTS, st.integers(1, 2**40), TEXTS),
    st.lists(TENSORS, min_size=1, max_size=2).map(tuple), st.lists(TENSORS, min_size=1, max_size=2).map(tuple),
    st.lists(TEXTS, max_size=3).map(tuple), VERSIONS,
    st.builds(
        manifest.Golden, st.integers(1, 1000), DIGESTS, TOLERANCES, VERSIONS, COUNTS.map(lambda n: n % 100), TOLERANCES,
    ),
    DIGESTS, st.dictionaries(TEXTS, PLAIN, max_size=2), st.dictionaries(TEXTS, NUMBERS, max_size=2), EXTRA,
)  # fmt: skip


@given(MANIFESTS)
def test_manifests(said: manifest.Manifest) -> None:
    raw = said.dump()
    assert manifest.parse(raw) == said
    assert manifest.parse(raw).dump() == raw


@given(NAMES.map(DeviceId), st.sampled_from(topics.Kind), NAMES)
def test_topics(device: DeviceId, kind: topics.Kind, name: str) -> None:
    named = name if kind in (topics.Kind.REPLY, topics.Kind.COMMAND) else ""
    assert topics.parse(topics.topic(device, kind, named)) == topics.Topic(device, kind, named)


@given(st.text(max_size=64), DIGESTS, DIGESTS)
def test_tokens(secret: str, ca: Digest, root: Digest) -> None:
    token = enrolment.EnrolToken(secret, ca, root)
    assert enrolment.parse_token(f" {token.dump()}\n") == token


LOGS = st.builds(LogHistogram, st.dictionaries(st.integers(-160, 320), st.integers(1, 10**6), max_size=8))


@given(
    st.builds(
        summary.Summary, COUNTS, COUNTS, st.dictionaries(TEXTS, COUNTS, max_size=2),
        st.dictionaries(st.integers(0, 9999), COUNTS, max_size=3), LOGS, LOGS,
        st.dictionaries(TEXTS, st.lists(COUNTS, min_size=1, max_size=5).map(tuple), max_size=2),
    )
)  # fmt: skip
def test_summaries(told: summary.Summary) -> None:
    assert summary.parse(json.loads(json.dumps(told.detail()))) == told


@given(st.lists(LOGS, max_size=4))
def test_sketches_merge_in_any_order(sketches: list[LogHistogram]) -> None:
    total = merged(sketches)
    assert total.count == sum(sketch.count for sketch in sketches)
    assert total.counts == merged(reversed(sketches)).counts
    assert LogHistogram.parse(total.dump()).counts == total.counts


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_five_percent(values: list[float], q: float) -> None:
    sketch = LogHistogram()
    sketch.add_many(np.array(values))
    exact = sorted(values)[int(q * (len(values) - 1))]
    assert sketch.quantile(q) == pytest.approx(exact, rel=0.05)


def test_one_by_one_and_many_at_once_count_alike() -> None:
    values = np.array([0, 1e-9, 1, 99.9, 100, 1e15])
    one, many = LogHistogram(), LogHistogram()
    for value in values:
        one.add(float(value))
    many.add_many(values)
    assert one.counts == many.counts


def test_what_is_no_number_counts_in_the_outermost_buckets() -> None:
    sketch = LogHistogram()
    sketch.add_many(np.array([np.nan, -np.inf, 0, np.inf], np.float16))
    (_lowest, low), (_highest, high) = sketch.dump()
    assert (low, high) == (3, 1)


def test_a_histogram_keeps_what_lies_outside_and_leaves_out_what_is_no_number() -> None:
    counted = Histogram.empty([0.0, 1.0])
    counted.add(np.array([-5, 0, 0.5, 1, 9, np.nan, np.inf]))
    assert counted.counts.tolist() == [1, 2, 2]


def test_psi_tells_a_shift_from_none() -> None:
    reference = np.array([100, 200, 100])
    assert psi(reference, reference * 3) == pytest.approx(0, abs=1e-3)
    assert psi(reference, np.array([200, 100, 0])) > 0.2


ARRAYS = st.sampled_from(["<f4", "<f8", "|u1", "<i8", "|b1", "<U5"]).flatmap(
    lambda dtype: st.lists(st.integers(0, 1), max_size=4).map(lambda values: np.array(values).astype(dtype))
)


@given(
    st.builds(
        capture.Capture, st.sampled_from(capture.Rule), COUNTS, COUNTS, st.integers(-1, 999),
        st.lists(st.floats(allow_nan=False), max_size=3).map(tuple), st.dictionaries(TEXTS, ARRAYS, min_size=1, max_size=3),
        st.text(max_size=32), TEXTS, TEXTS, st.integers(-1, 999), st.lists(TEXTS, max_size=2).map(tuple),
    )
)  # fmt: skip
def test_captures(kept: capture.Capture) -> None:
    found = capture.parse(msgpack.unpackb(msgpack.packb(kept.detail())))
    assert replace(found, inputs={}) == replace(kept, inputs={})
    assert {name: (array.dtype.str, array.tolist()) for name, array in found.inputs.items()} == {
        name: (array.dtype.str, array.tolist()) for name, array in kept.inputs.items()
    }


@given(COUNTS, DIGESTS, st.tuples(COUNTS, COUNTS, COUNTS).map(sorted), SHARES, st.tuples(LOGS, LOGS))
def test_shadow_summaries(
    span_us: int, other: Digest, counts: list[int], distance: float, latencies: tuple[LogHistogram, LogHistogram]
) -> None:
    agreed, labelled, compared = counts
    told = shadow.ShadowSummary(
        span_us, other, 2, readings=compared, compared=compared, agreed=agreed, labelled=labelled, distances=labelled,
        distance_sum=distance, distance_max=distance, errors={"run-failed": agreed}, latency=latencies[0],
        shadow_latency=latencies[1], cpu_us=compared, rss_kib=agreed, starts=1,
    )  # fmt: skip
    assert shadow.parse(msgpack.unpackb(msgpack.packb(told.detail()))) == told
