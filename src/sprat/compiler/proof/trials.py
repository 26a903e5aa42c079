"""Puts candidates through the gates: each artifact on each runtime, in fresh processes, against the research model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat.compiler import bundling, reference
from sprat.compiler.bundling import Contents
from sprat.compiler.golden import golden_inputs
from sprat.compiler.ingest import Ingested
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof import parity, without_labels
from sprat.compiler.proof.parity import Verdict
from sprat.compiler.runners.measure import Runner, require_ok
from sprat.compiler.runners.running import RunnerFailed
from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.recipe import Recipe
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.embedding import SPACE_BYTES
from sprat_device.contract.manifest import Task

Array = npt.NDArray[Any]


Places = Mapping[str, tuple[Runner, str]]
"""By runtime: the first runner that has it, and the version there."""


def places(runners: Sequence[Runner]) -> Places:
    """Ask every runner what it has."""
    found: dict[str, tuple[Runner, str]] = {}
    for runner in runners:
        for runtime, version in runner.runtimes().items():
            found.setdefault(runtime, (runner, version))
    return found


@dataclass(frozen=True, slots=True)
class Trial:
    """One artifact on one runtime: what the gates said, the golden outputs, and the check's figures."""

    scheme: str
    runtime: str
    version: str
    runner: str
    verdict: Verdict
    golden: Mapping[str, Array] = field(default_factory=dict)
    answers: Array = field(default_factory=lambda: np.zeros(0))
    embeddings: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """What the artifact makes of the test rows, reading after reading; empty where it has no embedding."""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Tell whether every gate let it through."""
        return self.verdict.code is None


class Trials:
    """Runs trials and remembers them: targets share what was found on a runtime."""

    def __init__(
        self, recipe: Recipe, ingested: Ingested, research: Mapping[str, Array], *, folder: Path,
        places: Places, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.golden_inputs = golden_inputs(ingested.parts["validation"], recipe, ingested)
        self._recipe, self._ingested, self._research = recipe, ingested, research
        self._folder, self._say = folder, say
        self._places = places
        self._done: dict[tuple[str, str], Trial] = {}
        self.seconds = 0.0
        """What all trials took on the clock."""

    def can_run(self, runtime: str) -> bool:
        """Tell whether any runner has the runtime."""
        return runtime in self._places

    def prove(self, bundle: Path, runtime: str) -> None:
        """Reproduce a whole bundle's golden set where the runtime is; GateFailed says what was off."""
        begun = time.monotonic()
        require_ok(self._places[runtime][0].check(bundle, runtime=runtime))
        self.seconds += time.monotonic() - begun

    def bundle_bytes(self, lowering: Lowering) -> int:
        """Return what a bundle of this artifact takes but for its provenance: the golden set often weighs more than the artifact."""
        golden = (one.golden for one in self._done.values() if one.scheme == lowering.scheme and one.passed)
        space = sum(
            SPACE_BYTES * math.prod(one.shape[1:]) for one in lowering.outputs if one.name == lowering.embedding
        )
        return (
            self._bundle(lowering).stat().st_size
            + space
            + sum(array.nbytes for raw in golden for array in raw.values())
        )

    def every(self) -> tuple[Trial, ...]:
        """Return all trials so far."""
        return tuple(self._done.values())

    def run(self, lowering: Lowering, runtime: str) -> Trial:
        """Return the trial of one artifact on one runtime."""
        self.run_all([(lowering, runtime)])
        return self._done[lowering.scheme, runtime]

    def run_all(self, wanted: Iterable[tuple[Lowering, str]], *, width: int = 1) -> None:
        """Run the trials that are not done yet: answers side by side, then each check alone on the machine.

        Nothing of ours runs beside a check, as that would be measured too.
        """
        fresh = {(one.scheme, runtime): one for one, runtime in wanted if (one.scheme, runtime) not in self._done}
        for lowering in fresh.values():
            self._bundle(lowering)
        begun = time.monotonic()
        with ThreadPoolExecutor(width, thread_name_prefix="sprat-trials") as threads:
            found = list(threads.map(lambda item: self._answered(item[1], item[0][1]), fresh.items()))
        for ((scheme, runtime), lowering), raw in zip(fresh.items(), found, strict=True):
            self._done[scheme, runtime] = self._finished(lowering, runtime, raw)
        self.seconds += time.monotonic() - begun

    def answers_to(self, part: str, lowering: Lowering, runtime: str) -> Array:
        """Return an artifact's answers to the rows of a part."""
        inputs = lowering.readings(self._ingested.parts[part].inputs)
        raw = self._places[runtime][0].infer(self._bundle(lowering), inputs, runtime=runtime)
        return lowering.answers(raw)

    def embeddings_of(self, part: str, rows: npt.NDArray[np.int64], lowering: Lowering, runtime: str) -> Array:
        """Return what an artifact makes of some rows of a part, reading after reading."""
        some = {name: np.asarray(array)[rows] for name, array in self._ingested.parts[part].inputs.items()}
        raw = self._places[runtime][0].infer(self._bundle(lowering), lowering.readings(some), runtime=runtime)
        return lowering.embeddings(raw)

    def _answered(self, lowering: Lowering, runtime: str) -> Mapping[str, Array] | RunnerFailed:
        """Return the raw outputs for the test rows and, behind them, the golden ones; or why there are none."""
        self._say(f"gates: {lowering.scheme} on {runtime}")
        runner, _ = self._places[runtime]
        test = self._ingested.parts["test"]
        both = {
            name: np.concatenate([np.asarray(test.inputs[name]), self.golden_inputs[name]])
            for name in self.golden_inputs
        }
        try:
            return runner.infer(self._bundle(lowering), lowering.readings(both), runtime=runtime)
        except RunnerFailed as exc:
            return exc

    def _finished(self, lowering: Lowering, runtime: str, raw: Mapping[str, Array] | RunnerFailed) -> Trial:
        """Measure, and judge the answers."""
        runner, version = self._places[runtime]
        trial = Trial(lowering.scheme, runtime, version, runner.name, Verdict())
        if isinstance(raw, RunnerFailed):
            return replace(trial, verdict=Verdict(GateCode.NOT_RUN, str(raw)))
        try:
            figures = runner.check(self._bundle(lowering), runtime=runtime, skip_golden=True)
        except RunnerFailed as exc:
            return replace(trial, verdict=Verdict(GateCode.NOT_RUN, str(exc)))
        if not figures["ok"]:
            return replace(trial, verdict=Verdict(GateCode.NOT_RUN, str(figures["detail"])))
        count = len(self._ingested.parts["test"].labels)
        readings = count * max(1, lowering.steps)
        answers = lowering.answers(raw)[:count]
        seen = lowering.embeddings(raw)[:readings] if lowering.embedding else trial.embeddings
        return replace(
            trial,
            verdict=self._judged(lowering, answers, raw),
            golden={name: array[readings:] for name, array in raw.items()},
            answers=answers,
            embeddings=seen,
            figures=figures,
        )

    def _judged(self, lowering: Lowering, answers: Array, raw: Mapping[str, Array]) -> Verdict:
        recipe, truth, research = self._recipe, self._ingested.parts["test"].labels, self._research["test"]
        facts = SCHEMES[lowering.scheme]
        if not facts.quantized and not lowering.scheme.startswith("given"):
            first = parity.gate_a(research, answers, classification=recipe.task is Task.CLASSIFICATION)
            if first.code is not None:
                return first
        verdict = parity.gate_b(
            recipe.metric, truth, research, answers, gates=recipe.gates, labels=recipe.labels,
            least_error=max(1e-12, without_labels.spread(recipe, truth)),
        )  # fmt: skip
        # An embedding behind a ReLU is full of the lowest number, and none the worse for it.
        return parity.with_saturation(verdict, {name: raw[name] for name in raw if name != lowering.embedding})

    def _bundle(self, lowering: Lowering) -> Path:
        """Return a bundle that is measured only: it lists every runtime and promises nothing."""
        path = self._folder / f"{lowering.scheme}.sprat"
        if not path.exists():
            unused = reference.baseline(self._ingested.parts["train"], self._research["train"], self._recipe)
            golden = GoldenSet(lowering.readings(self.golden_inputs), {})
            contents = Contents(golden, unused, dict.fromkeys(self._places, "0"))
            bundling.write(path, lowering, self._recipe, self._ingested, target="trial", contents=contents)
        return path
