"""One artifact as a scheme made it: what it is fed, and what its raw outputs say in their unit.

Every runtime gets the same readings, and what it gives back is read the same way: by the artifact's own facts (dtype,
scale, zero point) and by what the recipe calls the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.frontends import outputs
from sprat.compiler.ingest import Ingested
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.workers.work import TensorFacts
from sprat_device.contract.manifest import Format, Task

Array = npt.NDArray[Any]

_PLAIN: Final[Mapping[str, Any]] = {"string": np.str_}


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

    def readings(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return inputs in the dtype that a device is fed: the artifact's own, or float32 where that is quantized."""
        return {
            facts.name: np.asarray(
                outputs.flattened(inputs[facts.name], self.steps),
                np.float32 if facts.scale > 0 else _PLAIN.get(facts.dtype, facts.dtype),
            )
            for facts in self.inputs
        }

    def answers(self, raw: Mapping[str, Array]) -> Array:
        """Return the artifact's scores or values [n, width] in their unit, from its raw output tensors."""
        if not self.answer:
            return _in_unit(raw, self.outputs[-1])
        found = {facts.name: _in_unit(raw, facts) for facts in self.outputs}
        whole = outputs.reduced(outputs.joined(found, self.answer), self.steps, self.reduce)
        return outputs.widened(whole, classes=self.classes)

    def embeddings(self, raw: Mapping[str, Array]) -> Array:
        """Return the embeddings of the readings [n, width] in their unit, from the artifact's raw output tensors."""
        return _in_unit(raw, next(facts for facts in self.outputs if facts.name == self.embedding))


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


def _in_unit(raw: Mapping[str, Array], facts: TensorFacts) -> Array:
    tensor = np.asarray(raw[facts.name])
    flat = tensor.reshape(len(tensor), -1)
    if facts.scale > 0:
        return (flat.astype(np.float32) - np.float32(facts.zero_point)) * np.float32(facts.scale)
    return flat.astype(np.float64)
