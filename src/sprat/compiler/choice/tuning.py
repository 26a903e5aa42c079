"""Searches the factory's keyword arguments with Optuna: seeded, judged on the validation rows, kept and taken up again.

Each trial gets a sampler seeded with the plan's seed and the trial's place, and sees only trials that ended. So a
search that was interrupted goes on as if it had not been, and the same recipe, data and versions give the same best
parameters. The test rows take no part: they judge the one model that is trained from the best parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from sprat.compiler.spec.search_plan import Choices, SearchPlan, Span
from sprat.compiler.workers.processes import JobFailed
from sprat.errors import MachineLacks, RecipeError

Objective = Callable[[Mapping[str, Any]], float]

STUDY: Final = "search"
_FAILED: Final = "failed"
"""The note of a trial whose training failed; one without it was cut off and is tried again."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best parameters of a search and what it came to."""

    parameters: Mapping[str, Any]
    value: float
    trials: int
    failed: int


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial, as `sprat runs trials` shows it; a failed one has a reason instead of a value."""

    number: int
    parameters: Mapping[str, Any]
    value: float | None
    reason: str


def search(
    plan: SearchPlan, objective: Objective, *, less_is_better: bool, first: Mapping[str, Any], place: Path | None,
    say: Callable[[str], None],
) -> Found:  # fmt: skip
    """Run the trials that are still missing and return the best; `first` is tried first where the space holds it.

    The study is kept under `place`, or in memory only. RecipeError where every trial failed.
    """
    _quiet()
    space = {name: _distribution(one) for name, one in plan.space.items()}
    try:
        study = optuna.create_study(
            storage=_storage(place), study_name=STUDY, load_if_exists=True,
            direction="minimize" if less_is_better else "maximize",
        )  # fmt: skip
    except OSError as exc:
        raise MachineLacks(f"search: {place} cannot be written ({exc.strerror}); see the setting runs_dir") from exc
    inside = {name: first[name] for name in space if name in first and _holds(plan.space[name], first[name])}
    while len(ended := _ended(study)) < plan.trials:
        number = len(ended)
        study.sampler = optuna.samplers.TPESampler(seed=plan.seed * 100_003 + number)
        if number == 0 and inside:
            study.enqueue_trial(inside)
        trial = study.ask(space)
        say(f"search {number + 1} of {plan.trials}: {_words(trial.params)}")
        try:
            value = objective(trial.params)
        except JobFailed as exc:
            trial.set_user_attr(_FAILED, str(exc)[:300])
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, value)
    good = [trial for trial in ended if trial.state is TrialState.COMPLETE]
    if not good:
        raise RecipeError(f"search: each of {len(ended)} trials failed; the last said: {ended[-1].user_attrs[_FAILED]}")
    # The earlier one on a tie: how many more trials were asked for must not change it.
    best = min(good, key=lambda trial: ((trial.value or 0.0) * (1 if less_is_better else -1), trial.number))
    return Found(dict(best.params), float(best.value or 0.0), len(ended), len(ended) - len(good))


def trials_of(place: Path) -> list[TrialRow]:
    """Return the trials that a kept study ended."""
    _quiet()
    study = optuna.load_study(study_name=STUDY, storage=_storage(place))
    return [
        TrialRow(number, dict(one.params), one.value, str(one.user_attrs.get(_FAILED, "")))
        for number, one in enumerate(_ended(study), 1)
    ]


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return trials with a result in their order; what a killed build left half-done does not count."""
    return [
        one
        for one in study.get_trials(deepcopy=False)
        if one.state is TrialState.COMPLETE or (one.state is TrialState.FAIL and _FAILED in one.user_attrs)
    ]


def _storage(place: Path | None) -> BaseStorage:
    if place is None:
        return InMemoryStorage()
    place.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(place)))


def _distribution(one: Span | Choices) -> BaseDistribution:
    if isinstance(one, Choices):
        return CategoricalDistribution(one.values)
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def _holds(one: Span | Choices, value: object) -> bool:
    if isinstance(one, Choices):
        return value in one.values
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return one.low <= value <= one.high and (not one.whole or value == int(value))


def _words(parameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in parameters.items()
    )


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
