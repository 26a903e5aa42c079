"""Puts a bundle together: manifest, golden set and card. Nothing measured on one machine goes in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.feature_ranges import NONE, Ranges
from sprat.compiler.frontends import outputs
from sprat.compiler.frontends.states import state_of
from sprat.compiler.ingest import Ingested
from sprat.compiler.proof import ranks
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.recipe import InputSpec, Recipe
from sprat.compiler.workers.work import TensorFacts
from sprat.publish.bundle import write_bundle
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.ids import Digest, model_name
from sprat_device.contract.manifest import EMBEDDING, Artifact, Format, Golden, Manifest, Task, TensorSpec, Tolerance

Array = npt.NDArray[Any]

RESEARCH: Final = "research"
"""Where the golden set keeps the research model's own answers, beside those of the runtimes."""
_MEANINGS: Final = {Task.CLASSIFICATION: "probabilities", Task.REGRESSION: "values", Task.ANOMALY: "score"}
DECISION: Final = "decision"
"""The name of an output whose class scores are no probabilities."""
_PLAIN: Final[Mapping[str, Any]] = {"string": np.str_}
_LSB: Final = 3.0
"""int8 across CPUs of one runtime was seen 1 step apart after a softmax, 2 between kernels of logits."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """One artifact as a scheme made it."""

    scheme: str
    format: Format
    path: Path
    size: int
    sha256: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    options: Mapping[str, Any]
    ops: tuple[str, ...]
    quantized: int = -1
    """How many tensors hold fewer bits than float32; -1 where that is not known."""
    answer: tuple[str, ...] = ()
    """The outputs that are the answer, in order; empty means the last one."""
    embedding: str = ""
    """The output that is no answer, but what a device compares of the model's inside; empty where there is none."""
    steps: int = 0
    """Readings in each row, where a row is a sequence for a model that keeps state."""
    reduce: str = ""
    """How the answers to a sequence's readings become one."""
    classes: int = 0
    decision: bool = False
    """Its class scores are no probabilities: logits, say."""

    @property
    def quantized_inside(self) -> bool:
        """Tell whether its kernels round, so that CPUs may differ by a step."""
        return self.scheme.startswith(("int8", "int16", "dynamic", "float16", "given", "qdq"))


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle holds besides its artifact; the defaults are those of a bundle that is only measured."""

    golden: GoldenSet
    baseline: Baseline
    runtimes: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    embedding_tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metric: Mapping[str, float] = field(default_factory=dict)
    card: str = ""
    threshold: float | None = None
    """From which score on a row is unusual; only for anomalies."""


def shaped(lowering: Lowering, recipe: Recipe, ingested: Ingested, *, scores: Array) -> Lowering:
    """Return the lowering with what the recipe says of its answer; the outputs stand in the order of the answer.

    `scores` are the research model's, by which a classifier's answer is one of probabilities or not.
    """
    if recipe.train.framework == "sklearn":
        return lowering
    found = {facts.name: facts for facts in lowering.outputs}
    outputs.require_embedding(recipe.embedding, found)
    answer = tuple(name for name in recipe.answer if name in found) or tuple(sorted(found.keys() - {recipe.embedding}))
    steps = next(iter(ingested.parts["train"].inputs.values())).shape[1] if recipe.stream else 0
    return replace(
        lowering,
        outputs=(*(facts for name, facts in found.items() if name not in answer), *(found[name] for name in answer)),
        answer=answer,
        embedding=recipe.embedding,
        steps=steps,
        reduce=recipe.stream,
        classes=len(recipe.labels) if recipe.task is Task.CLASSIFICATION else 0,
        decision=recipe.task is Task.CLASSIFICATION and not outputs.are_probabilities(scores),
    )


def write(
    path: Path, lowering: Lowering, recipe: Recipe, ingested: Ingested, *, target: str, contents: Contents
) -> Digest:
    """Write one bundle and return its digest."""
    golden, baseline = contents.golden.dump(), contents.baseline.dump()
    manifest = Manifest(
        model=recipe.model,
        target=model_name(target),
        task=recipe.task,
        artifact=Artifact(
            file=f"model.{lowering.format}", format=lowering.format, sha256=Digest(lowering.sha256),
            size=lowering.size, scheme=lowering.scheme,
        ),
        inputs=input_specs(lowering, recipe, ingested),
        outputs=output_specs(lowering, recipe, threshold=contents.threshold),
        labels=recipe.labels,
        runtimes=contents.runtimes,
        golden=Golden(
            count=len(next(iter(contents.golden.inputs.values()))),
            sha256=_digest(golden), tolerances=contents.tolerances, versions=contents.versions,
            sequence_rows=lowering.steps, embedding_tolerances=contents.embedding_tolerances,
        ),
        baseline_sha256=_digest(baseline),
        provenance=contents.provenance,
        metric=contents.metric,
        state=state_of(lowering.ops, stream=bool(lowering.steps)),
        preprocess=recipe.preprocess,
    )  # fmt: skip
    return write_bundle(
        path, manifest=manifest, artifact=lowering.path.read_bytes(), golden=contents.golden,
        baseline=contents.baseline, card=contents.card,
    )  # fmt: skip


def input_specs(lowering: Lowering, recipe: Recipe, ingested: Ingested) -> tuple[TensorSpec, ...]:
    """Return the inputs as the manifest declares them."""
    return tuple(_input(facts, recipe, ingested) for facts in lowering.inputs)


def output_specs(lowering: Lowering, recipe: Recipe, *, threshold: float | None = None) -> tuple[TensorSpec, ...]:
    """Return the outputs as the manifest declares them."""
    return tuple(
        replace(_output(facts, recipe, threshold), **_other_meaning(facts, lowering)) for facts in lowering.outputs
    )


def readings(inputs: Mapping[str, Array], lowering: Lowering) -> dict[str, Array]:
    """Return inputs in the dtype that a device is fed: the artifact's own, or float32 where that is quantized."""
    return {
        facts.name: np.asarray(
            outputs.flattened(inputs[facts.name], lowering.steps),
            np.float32 if facts.scale > 0 else _PLAIN.get(facts.dtype, facts.dtype),
        )
        for facts in lowering.inputs
    }


def answers(raw: Mapping[str, Array], lowering: Lowering) -> Array:
    """Return the artifact's scores or values [n, width] in their unit, from its raw output tensors."""
    if not lowering.answer:
        return _in_unit(raw, lowering.outputs[-1])
    found = {facts.name: _in_unit(raw, facts) for facts in lowering.outputs}
    whole = outputs.reduced(outputs.joined(found, lowering.answer), lowering.steps, lowering.reduce)
    return outputs.widened(whole, classes=lowering.classes)


def embeddings(raw: Mapping[str, Array], lowering: Lowering) -> Array:
    """Return the embeddings of the readings [n, width] in their unit, from the artifact's raw output tensors."""
    return _in_unit(raw, next(facts for facts in lowering.outputs if facts.name == lowering.embedding))


def _in_unit(raw: Mapping[str, Array], facts: TensorFacts) -> Array:
    tensor = np.asarray(raw[facts.name])
    flat = tensor.reshape(len(tensor), -1)
    if facts.scale > 0:
        return (flat.astype(np.float32) - np.float32(facts.zero_point)) * np.float32(facts.scale)
    return flat.astype(np.float64)


def tolerance(lowering: Lowering, outputs: Array, *, scale: float | None = None) -> Tolerance:
    """Return how far a device's raw outputs may be off from those of the same runtime here.

    `scale` is that of the output in question, by default the last one's, which is of the answer.
    """
    if (lowering.outputs[-1].scale if scale is None else scale) > 0:
        return Tolerance("lsb", _LSB)
    size = max(1.0, float(np.max(np.abs(outputs), initial=0.0)))
    return Tolerance("absolute", (0.02 if lowering.quantized_inside else 1e-4) * size)


def golden_inputs(part: Part, recipe: Recipe, ingested: Ingested) -> dict[str, Array]:
    """Return readings for the golden set: rows spread over the part, or noise within the range of each input."""
    rows = golden_rows(len(part.labels), recipe)
    if recipe.golden_inputs == "synthetic":
        rng = np.random.default_rng(recipe.train.seed)
        return {
            name: _texts(array, len(rows), rng)
            if array.dtype.kind == "U"
            else _with_codes(
                rng.uniform(*_drawn_from(name, ingested), size=(len(rows), *array.shape[1:])).astype(array.dtype),
                next(_codes(spec, ingested) for spec in recipe.inputs if spec.name == name), rng,
            )
            for name, array in part.inputs.items()
        }  # fmt: skip
    return {name: array[rows] for name, array in part.inputs.items()}


def _drawn_from(name: str, ingested: Ingested) -> tuple[Any, Any]:
    """Return the least and the greatest value to draw: each feature's own where it has one, for a device checks it."""
    whole = ingested.ranges[name]
    lows, highs = map(np.array, ingested.feature_ranges.get(name, NONE))
    if not lows.size:
        return whole
    return np.where(lows < highs, lows, whole[0]), np.where(lows < highs, highs, whole[1])


def _texts(column: Array, count: int, rng: np.random.Generator) -> Array:
    """Return rows of texts, each drawn from its own column: no row of the data, but words that it has."""
    return np.stack([rng.choice(np.unique(column[:, i]), count) for i in range(column.shape[1])], axis=1)


def _with_codes(rows: Array, codes: tuple[tuple[float, ...], ...], rng: np.random.Generator) -> Array:
    """Put codes that the data has where a device takes no others."""
    for place, known in enumerate(codes):
        if known:
            rows[..., place] = rng.choice(known, rows.shape[:-1])
    return rows


def golden_rows(available: int, recipe: Recipe) -> npt.NDArray[np.int64]:
    """Return which rows of a part are the golden ones: spread evenly over it."""
    return np.linspace(0, available - 1, min(recipe.golden_count, available)).astype(np.int64)


def threshold(validation: Part, scores: Array) -> float:
    """Return the anomaly score above which the device gives the label of unusual rows."""
    return ranks.threshold(validation.labels, scores)


def card(recipe: Recipe, *, lines: Mapping[str, str]) -> str:
    """Return the card: what the model is, what it was made from, and how good it is."""
    said = "\n".join(f"- {what}: {value}" for what, value in lines.items())
    return f"# {recipe.model}\n\n{recipe.about or 'No description.'}\n\n{said}\n"


def _input(facts: TensorFacts, recipe: Recipe, ingested: Ingested) -> TensorSpec:
    spec = next(spec for spec in recipe.inputs if spec.name == facts.name)
    low, high = ingested.ranges[facts.name]
    lows, highs = _feature_ranges(facts, ingested)
    return TensorSpec(
        name=facts.name, dtype=facts.dtype, shape=facts.shape, scale=facts.scale, zero_point=facts.zero_point,
        unit=spec.unit, minimum=low, maximum=high, features=spec.features,
        missing_allowed=spec.missing == "keep", categories=_categories(spec, ingested), codes=_codes(spec, ingested),
        minimums=lows, maximums=highs,
    )  # fmt: skip


def _feature_ranges(facts: TensorFacts, ingested: Ingested) -> Ranges:
    """Return the ranges of an input's features, where the artifact keeps them on its last axis."""
    found = ingested.feature_ranges.get(facts.name, NONE)
    numbers = facts.dtype not in {"string", "bool"}
    return found if numbers and len(facts.shape) > 1 and len(found[0]) == facts.shape[-1] else NONE


def _categories(spec: InputSpec, ingested: Ingested) -> tuple[tuple[str, ...], ...]:
    """Return the texts of each column of a text input whose unknown ones are refused: all that the data has."""
    if spec.type != "text" or spec.unknown == "allow":
        return ()
    whole = np.concatenate([part.inputs[spec.name] for part in ingested.parts.values()])
    return tuple(tuple(np.unique(whole[:, i]).tolist()) for i in range(whole.shape[1]))


def _codes(spec: InputSpec, ingested: Ingested) -> tuple[tuple[float, ...], ...]:
    """Return the numbers that each column of codes has in the data, and nothing of the other columns."""
    if not spec.codes or spec.unknown == "allow":
        return ()
    whole = np.concatenate([part.inputs[spec.name] for part in ingested.parts.values()])
    return tuple(
        tuple(np.unique(column[np.isfinite(column)]).tolist()) if name in spec.codes else ()
        for name, column in zip(spec.features, np.moveaxis(whole, -1, 0), strict=True)
    )


def _other_meaning(facts: TensorFacts, lowering: Lowering) -> dict[str, Any]:
    """Take the meaning from an output that is no part of the answer, and call scores by their name."""
    if lowering.embedding and facts.name == lowering.embedding:
        return {"meaning": EMBEDDING, "threshold": None, "features": ()}
    if lowering.answer and facts.name not in lowering.answer:
        return {"meaning": ""}
    return {"meaning": DECISION} if lowering.decision else {}


def _value_names(facts: TensorFacts, recipe: Recipe) -> tuple[str, ...]:
    """Return what each value of an output is, where a regression predicts several columns."""
    names = (recipe.data.label, *recipe.data.more_labels)
    return names if len(names) > 1 and facts.shape[-1] == len(names) else ()


def _output(facts: TensorFacts, recipe: Recipe, threshold: float | None) -> TensorSpec:
    meaning = _MEANINGS[recipe.task]
    if recipe.task is Task.CLASSIFICATION and facts.name == DECISION:
        meaning = DECISION
    return TensorSpec(
        name=facts.name, dtype=facts.dtype, shape=facts.shape, scale=facts.scale, zero_point=facts.zero_point,
        meaning=meaning, threshold=threshold, features=_value_names(facts, recipe),
    )  # fmt: skip


def _digest(raw: bytes) -> Digest:
    return Digest(hashlib.sha256(raw).hexdigest())
