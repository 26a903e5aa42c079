from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprat.compiler.choice import search
from sprat.compiler.choice.search import Measured
from sprat.compiler.proof import budget
from sprat.compiler.proof.budget import Need
from sprat.compiler.schemes import SCHEMES
from sprat.compiler.spec import recipe, target
from sprat.compiler.spec.gates import GateCode
from sprat.errors import RecipeError

MODELS = Path(__file__).parents[3] / "models"
PI = target.parse((MODELS / "targets" / "pi-zero-2w.toml").read_text(), name="pi")
TEXT = (MODELS / "digits" / "recipe.toml").read_text()
BOTH = ("litert", "tflite")


def _one(scheme, size=1000, metric=0.98, *, latency=10.0, memory=100.0, runtimes=BOTH, **rest):
    return Measured(scheme, size, metric, latency, memory, runtimes, **rest)


def _choose(*measured, prefer=("size",)):
    return search.choose(measured, prefer=prefer, less_is_better=False)


def test_candidates_follow_recipe_and_target():
    found = search.candidates(recipe.parse(TEXT), PI)
    assert [one.scheme for one in found] == ["float32", "float16", "dynamic", "int8", "int8-full"]
    assert found[0].runtimes == ("tflite", "litert")
    with pytest.raises(RecipeError, match="did you mean 'int8'"):
        search.candidates(recipe.parse(TEXT, overrides=('schemes=["int88"]',)), PI)
    with pytest.raises(RecipeError, match="does not lower keras"):
        search.candidates(recipe.parse(TEXT, overrides=('schemes=["float64-onnx"]',)), PI)


def test_the_preference_decides_and_each_loser_has_a_reason():
    choice = _choose(_one("float32", 3000), _one("int8", 1000), _one("dynamic", 2000))
    assert choice.chosen == "int8"
    assert choice.reasons == {
        "float32": "outranked: int8 is smaller (1000 against 3000 bytes)",
        "dynamic": "outranked: int8 is smaller (1000 against 2000 bytes)",
    }


def test_latencies_within_fifteen_percent_are_a_tie_and_the_simpler_scheme_wins():
    assert _choose(_one("float32", latency=11.0), _one("int8", latency=10.0), prefer=("latency",)).chosen == "float32"
    assert _choose(_one("float32", latency=12.0), _one("int8", latency=10.0), prefer=("latency",)).chosen == "int8"
    tied = _choose(_one("int8"), _one("float32"), prefer=("memory", "metric"))
    assert tied.chosen == "float32"
    assert "simpler" in tied.reasons["int8"]


def test_the_next_preference_breaks_a_tie():
    choice = _choose(_one("float32", latency=10.5), _one("int8", 500), prefer=("latency", "size"))
    assert choice.chosen == "int8"


def test_more_runtimes_come_before_any_preference():
    choice = _choose(_one("float32", 9000), _one("dynamic", 100, runtimes=("litert",)))
    assert choice.chosen == "float32"
    assert "more runtimes" in choice.reasons["dynamic"]


def test_what_a_gate_stopped_is_never_chosen_and_keeps_its_reason():
    stopped = _one("int8", 10, code=GateCode.METRIC_DROP, sentence="accuracy drops")
    choice = _choose(_one("float32"), stopped)
    assert choice.chosen == "float32"
    assert choice.reasons["int8"] == "metric-drop: accuracy drops"


def test_nothing_fits_names_the_closest():
    far = _one("float32", code=GateCode.OVER_FLASH, sentence="bundle 300 KiB", excess=2.0)
    near = _one("int8", code=GateCode.OVER_FLASH, sentence="bundle 110 KiB", excess=0.1)
    choice = _choose(far, near)
    assert choice.chosen is None
    assert choice.closest == "closest: int8, bundle 110 KiB"


def test_the_front_holds_what_nothing_beats():
    ones = [_one("float32", 3000, 0.99), _one("int8", 1000, 0.98), _one("dynamic", 3500, 0.97)]
    assert search.pareto(ones, less_is_better=False) == {"float32", "int8"}
    assert search.pareto(ones, less_is_better=True) == {"int8", "dynamic"}


def test_a_budget_says_by_how_much_it_breaks():
    assert budget.breaks(Need(1024, 100, 10.0), PI) == ()
    (over,) = budget.breaks(Need(PI.bundle_kib * 1024 * 3 // 2, 100, 10.0), PI)
    assert (over.code, over.excess) == (GateCode.OVER_FLASH, 0.5)
    assert "+50%" in over.sentence
    codes = [one.code for one in budget.breaks(Need(1, PI.memory_kib + 1, 11.0), PI, max_latency_us=10.0)]
    assert codes == [GateCode.OVER_RAM, GateCode.OVER_LATENCY]


@st.composite
def _measured(draw):
    names = draw(st.lists(st.sampled_from(tuple(SCHEMES)), min_size=1, max_size=8, unique=True))
    return [
        _one(
            name, draw(st.integers(1, 6)) * 500, draw(st.sampled_from([0.90, 0.95, 0.96, 0.99])),
            latency=draw(st.sampled_from([1.0, 1.1, 1.2, 1.5, 3.0])), memory=draw(st.sampled_from([90.0, 100.0, 200.0])),
            runtimes=draw(st.sampled_from([BOTH, ("litert",)])),
            code=draw(st.sampled_from([None, None, None, GateCode.METRIC_DROP])), sentence="drops",
        )
        for name in names
    ]  # fmt: skip


_PREFERENCES = st.permutations(("size", "latency", "metric", "memory")).map(tuple)


def _beats(one, other, *, less):
    """Tell whether `one` is better in some figure and in none worse: outside the tie for what a clock measured."""

    def clearly(a, b):
        return a < b and not search._tied(a, b)

    metric = (one.metric - other.metric) * (1 if less else -1)
    worse = (
        metric > 0 or one.size > other.size or one.latency_us > other.latency_us or one.memory_kib > other.memory_kib
    )
    better = metric < 0 or one.size < other.size or clearly(one.latency_us, other.latency_us) or clearly(
        one.memory_kib, other.memory_kib
    )  # fmt: skip
    return better and not worse and len(one.runtimes) >= len(other.runtimes)


@given(_measured(), _PREFERENCES, st.booleans())
def test_the_chosen_one_is_dominated_by_none(measured, prefer, less):
    choice = search.choose(measured, prefer=prefer, less_is_better=less)
    left = [one for one in measured if one.code is None]
    if not left:
        assert choice.chosen is None
        return
    chosen = next(one for one in left if one.scheme == choice.chosen)
    assert [one.scheme for one in left if one is not chosen and _beats(one, chosen, less=less)] == []


@given(_measured(), _PREFERENCES, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_choose_and_every_loser_has_a_reason(measured, prefer, less, random):
    choice = search.choose(measured, prefer=prefer, less_is_better=less)
    shuffled = list(measured)
    random.shuffle(shuffled)
    again = search.choose(shuffled, prefer=prefer, less_is_better=less)
    assert (again.chosen, again.front) == (choice.chosen, choice.front)
    assert set(choice.reasons) == {one.scheme for one in measured} - {choice.chosen}
    assert all(choice.reasons.values())


@given(_measured(), _PREFERENCES)
def test_the_front_is_what_none_dominates(measured, prefer):
    choice = search.choose(measured, prefer=prefer, less_is_better=False)
    left = [one for one in measured if one.code is None]
    assert choice.front == search.pareto(left, less_is_better=False)
    assert bool(choice.front) == bool(left)
