"""For one target: trials to figures, figures to the choice, and a row for each candidate with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sprat.compiler.choice import search
from sprat.compiler.choice.search import Candidate, Choice, Measured
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof import budget
from sprat.compiler.proof.metrics import ERROR_METRICS
from sprat.compiler.proof.parity import Drop
from sprat.compiler.proof.trials import Trial, Trials
from sprat.compiler.report import explain
from sprat.compiler.result import CandidateRow
from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.recipe import Recipe
from sprat.compiler.spec.target import Target
from sprat.compiler.workers.jobs import JobFailed
from sprat.errors import GateFailed


@dataclass(frozen=True, slots=True)
class Ranked:
    """The choice for one target with what it rests on."""

    choice: Choice
    rows: tuple[CandidateRow, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    lowered: Mapping[str, Lowering | JobFailed]

    @property
    def chosen(self) -> tuple[Lowering, tuple[Trial, ...]] | None:
        """Return the chosen artifact and the trials that it passed."""
        scheme = self.choice.chosen
        found = self.lowered.get(scheme) if scheme else None
        if scheme is None or not isinstance(found, Lowering):
            return None
        return found, tuple(trial for trial in self.trials[scheme] if trial.passed)

    def refusal(self, target: Target) -> GateFailed:
        """Return what to say where nothing fits: the closest candidate and the limit that it breaks, or every reason."""
        said = self.choice.closest or "; ".join(f"{name} {reason}" for name, reason in self.choice.reasons.items())
        change = explain.what_to_change([{"reason": reason} for reason in self.choice.reasons.values()])
        return GateFailed(GateCode.NOTHING_FITS, f"no candidate fits {target.name}: {said}. {change}".rstrip(". "))


def rank(
    candidates: Sequence[Candidate], lowered: Mapping[str, Lowering | JobFailed], trials: Trials, target: Target,
    recipe: Recipe, *, provenance_bytes: int = 0,
) -> Ranked:  # fmt: skip
    """Measure every candidate against one target and choose; a bundle holds the artifact, the golden set and provenance."""
    done: dict[str, tuple[Trial, ...]] = {}
    measured: list[Measured] = []
    plain: dict[str, int] = {}  # an .onnx of another size says nothing of a .tflite
    for candidate in candidates:
        one = lowered[candidate.scheme]
        if isinstance(one, Lowering) and not SCHEMES[one.scheme].quantized:
            plain[one.format] = min(one.size, plain.get(one.format, one.size))
    for candidate in candidates:
        found = lowered[candidate.scheme]
        if isinstance(found, JobFailed):
            measured.append(Measured(candidate.scheme, code=found.code, sentence=str(found)))
            continue
        if unchanged := _unchanged(found, lowered):
            measured.append(Measured(candidate.scheme, size=found.size, code=GateCode.NO_OP, sentence=unchanged))
            continue
        done[candidate.scheme] = tuple(trials.run(found, name) for name in candidate.runtimes if trials.can_run(name))
        measured.append(
            _measured(found, done[candidate.scheme], target, recipe, plain=plain.get(found.format, 0),
                      bundle=trials.bundle_bytes(found) + provenance_bytes)
        )  # fmt: skip
    choice = search.choose(measured, prefer=recipe.prefer, less_is_better=recipe.metric in ERROR_METRICS)
    rows = tuple(_row(one, done.get(one.scheme, ()), choice, target, recipe) for one in measured)
    return Ranked(choice, rows, done, lowered)


def _unchanged(lowering: Lowering, lowered: Mapping[str, Lowering | JobFailed]) -> str:
    """Return why a quantized artifact is none: converters leave small weights float, and say nothing."""
    if not SCHEMES[lowering.scheme].quantized:
        return ""
    if lowering.quantized == 0:
        return "no tensor was quantized: the weights are too small to be worth it"
    for other in lowered.values():
        if isinstance(other, Lowering) and other.sha256 == lowering.sha256 and not SCHEMES[other.scheme].quantized:
            return f"its bytes are those of {other.scheme}"
    return ""


def _measured(
    lowering: Lowering, trials: Sequence[Trial], target: Target, recipe: Recipe, *, plain: int, bundle: int
) -> Measured:
    """Sum up one candidate: figures of the target's first runtime that it passed on, the worst metric of all."""
    passed = [trial for trial in trials if trial.passed]
    shown = passed or [trial for trial in trials if trial.figures]
    worst = max if recipe.metric in ERROR_METRICS else min
    figures = shown[0].figures if shown else {}
    summary = Measured(
        lowering.scheme,
        size=lowering.size,
        metric=worst((trial.verdict.metric for trial in shown), default=0.0),
        latency_us=float(figures.get("latency_us", {}).get("p50", 0.0)),
        memory_kib=float(figures.get("ram_above_floor_kib", 0)),
        runtimes=tuple(trial.runtime for trial in passed),
    )
    code, sentence, excess = _stopped(lowering, summary, trials, target, recipe, plain=plain, bundle=bundle)
    return Measured(
        summary.scheme, summary.size, summary.metric, summary.latency_us, summary.memory_kib, summary.runtimes,
        code, sentence, excess,
    )  # fmt: skip


def _stopped(
    lowering: Lowering,
    summary: Measured,
    trials: Sequence[Trial],
    target: Target,
    recipe: Recipe,
    *,
    plain: int,
    bundle: int,
) -> tuple[GateCode | None, str, float]:
    if not summary.runtimes:
        said: dict[str, list[str]] = {}
        for trial in trials:
            said.setdefault(trial.verdict.sentence, []).append(trial.runtime)
        sentence = "; ".join(f"{' and '.join(runtimes)}: {what}" for what, runtimes in said.items())
        codes = [trial.verdict.code for trial in trials if trial.verdict.code is not None]
        return codes[0] if codes else GateCode.NOT_RUN, sentence or "none of its runtimes is on this machine", 0.0
    if SCHEMES[lowering.scheme].quantized and plain and lowering.size >= plain:
        return GateCode.NOT_SMALLER, f"{lowering.size} bytes, unquantized it has {plain}", 0.0
    where = str(next(trial for trial in trials if trial.passed).figures.get("where", ""))
    need = budget.Need(bundle, int(summary.memory_kib), summary.latency_us, where)
    broken = budget.breaks(need, target, max_latency_us=recipe.gates.max_latency_us)
    if broken:
        worst = max(broken, key=lambda one: one.excess)
        return worst.code, worst.sentence, worst.excess
    return None, "", 0.0


def _row(one: Measured, trials: Sequence[Trial], choice: Choice, target: Target, recipe: Recipe) -> CandidateRow:
    tried = [trial for trial in trials if trial.figures]
    verdicts = [trial.verdict for trial in tried]
    worst = max((verdict.drop for verdict in verdicts), key=lambda drop: drop.high, default=Drop(0.0, 0.0, 0.0))
    shown = [trial for trial in tried if trial.passed] or tried
    return CandidateRow(
        target=target.name,
        scheme=one.scheme,
        size=one.size,
        metric=one.metric,
        drop_high=worst.high,
        agreement=min((verdict.agreement for verdict in verdicts), default=0.0),
        latency_us=one.latency_us,
        memory_kib=one.memory_kib,
        runtimes=one.runtimes,
        chosen=one.scheme == choice.chosen,
        on_front=one.scheme in choice.front,
        reason="" if one.scheme == choice.chosen else choice.reasons[one.scheme],
        drop=worst.value,
        drop_low=worst.low,
        less_is_better=recipe.metric in ERROR_METRICS,
        where=f"{shown[0].runtime} on {shown[0].figures.get('where', shown[0].runner)}" if shown else "",
    )
