"""Puts a bundle together: manifest, golden set and card. Nothing measured on one machine goes in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sprat.compiler.frontends.states import state_of
from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.tensor_specs import input_specs, output_specs
from sprat.publish.bundle import write_bundle
from sprat_device.contract.bundle import Baseline, GoldenSet
from sprat_device.contract.ids import Digest, model_name
from sprat_device.contract.manifest import Artifact, Golden, Manifest, Tolerance


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


def card(recipe: Recipe, *, lines: Mapping[str, str]) -> str:
    """Return the card: what the model is, what it was made from, and how good it is."""
    said = "\n".join(f"- {what}: {value}" for what, value in lines.items())
    return f"# {recipe.model}\n\n{recipe.about or 'No description.'}\n\n{said}\n"


def _digest(raw: bytes) -> Digest:
    return Digest(hashlib.sha256(raw).hexdigest())
