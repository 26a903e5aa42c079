"""Searching parameters: seeded, taken up again where it was cut off, and honest about what failed."""

import math

import numpy as np
import pytest

from sprat.compiler.choice import tuning
from sprat.compiler.spec import factory, recipe
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.search_plan import Choices, SearchPlan, Span
from sprat.compiler.workers.jobs import JobFailed
from sprat.errors import RecipeError

SPACE = {"trees": Span(1, 50, whole=True), "rate": Span(1e-4, 1, whole=False, log=True), "family": Choices(("a", "b"))}


def _objective(parameters):
    """Peak at 30 trees, rate 0.01, family b."""
    off = abs(parameters["trees"] - 30) / 50 + abs(math.log10(parameters["rate"]) + 2) / 4
    return 1 - off - 0.1 * (parameters["family"] == "a")


def _search(objective=_objective, *, trials=12, seed=3, place=None, first=None, less=False):
    said = []
    plan = SearchPlan(trials, seed, SPACE)
    found = tuning.search(plan, objective, less_is_better=less, first=first or {}, place=place, say=said.append)
    return found, said


def test_the_same_seed_finds_the_same_and_more_than_chance():
    one, said = _search()
    assert one == _search()[0]
    assert one.parameters["family"] in {"a", "b"}
    assert isinstance(one.parameters["trees"], int)
    assert len(said) == 12
    assert _search(seed=4)[0].parameters != one.parameters


def test_a_search_that_was_cut_off_ends_where_a_whole_one_does(tmp_path):
    calls = iter(range(100))

    def cut(parameters):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return _objective(parameters)

    place = tmp_path / "deep" / "one.journal"
    with pytest.raises(KeyboardInterrupt):
        _search(cut, place=place)
    resumed, said = _search(place=place)
    assert len(said) == 7
    assert resumed == _search()[0]
    assert _search(place=place)[1] == []
    rows = tuning.trials_of(place)
    assert len(rows) == 12
    assert max(row.value for row in rows) == resumed.value


def test_the_recipes_own_parameters_are_the_first_trial():
    seen = []
    _search(lambda one: seen.append(dict(one)) or 0.0, trials=2, first={"trees": 7, "rate": 0.5, "family": "b", "x": 1})
    assert seen[0] == {"trees": 7, "rate": 0.5, "family": "b"}
    seen.clear()
    _search(lambda one: seen.append(dict(one)) or 0.0, trials=1, first={"trees": 700})
    assert 1 <= seen[0]["trees"] <= 50


def test_less_is_better_for_errors():
    found, _ = _search(lambda one: abs(one["trees"] - 30), less=True, first={"trees": 30, "rate": 0.1, "family": "a"})
    assert (found.value, found.parameters["trees"]) == (0.0, 30)


def test_a_trial_that_fails_costs_one_trial(tmp_path):
    def broken(parameters):
        if parameters["family"] == "a":
            raise JobFailed(GateCode.CONVERSION_FAILED, "family a is broken")
        return _objective(parameters)

    found, _ = _search(broken, place=tmp_path / "j.journal")
    assert found.parameters["family"] == "b"
    assert 0 < found.failed < found.trials == 12
    assert {row.reason for row in tuning.trials_of(tmp_path / "j.journal")} == {"", "family a is broken"}


def test_where_every_trial_fails_the_last_word_is_told():
    def broken(_parameters):
        raise JobFailed(GateCode.CONVERSION_FAILED, "no such family")

    with pytest.raises(RecipeError, match="each of 12 trials failed; the last said: no such family"):
        _search(broken)


TEXT = """
schema = "sprat.recipe/1"
model = "m"
task = "classification"
labels = ["a", "b"]
[train]
framework = "sklearn"
factory = "factory.py"
[inputs.x]
[search]
"""


def test_the_recipe_says_what_to_search():
    plan = recipe.parse(
        TEXT + 'trials = 5\n[search.space]\ntrees = {low = 1, high = 9}\nf = {choices = ["a", 2]}\n'
    ).search
    assert plan == SearchPlan(5, 0, {"trees": Span(1, 9, whole=True), "f": Choices(("a", 2))})
    assert recipe.parse(TEXT.replace("[search]", "")).search.trials == 0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("trials = 0\n[search.space]\na = {low = 1, high = 2}", "search.trials: found 0, expected 1 to 10000"),
        ("trials = 3", "at least one keyword argument"),
        ("trials = 3\n[search.space]\na = {low = 2, high = 2}", "expected more than low = 2"),
        ("trials = 3\n[search.space]\na = {low = 0, high = 2, log = true}", "a number above zero"),
        ("trials = 3\n[search.space]\na = {choices = [1]}", "at least two words"),
        ("trials = 3\n[search.space]\na = {low = 1, hihg = 2}", "needs 'high'"),
        ("trials = 3\ntrails = 2\n[search.space]\na = {low = 1, high = 2}", "did you mean 'trials'"),
    ],
)
def test_a_wrong_search_names_its_place(lines, said):
    with pytest.raises(RecipeError, match=said):
        recipe.parse(TEXT + lines + "\n")


FACTORY = """
import numpy as np
from sprat.compiler.spec.factory import Part

def twice(train, *, seed):
    noise = np.random.default_rng(seed).normal(0, 0.1, train.inputs["x"].shape)
    return Part({"x": train.inputs["x"] + noise}, train.labels)

def wide(train, *, seed):
    return Part({"x": np.zeros((2, 9))}, train.labels[:2])

def short(train, *, seed):
    return Part({"x": train.inputs["x"]}, train.labels[:1])

def broken(train, *, seed):
    return Part({"x": train.inputs["x"] * np.nan}, train.labels)

def nothing(train, *, seed):
    return None
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "factory.py").write_text(FACTORY)
    return tmp_path / "factory.py"


def test_augmentation_adds_rows_behind_the_training_part(path):
    train = factory.Part({"x": np.ones((4, 3))}, np.array([0, 1, 0, 1]))
    more = factory.augmented(path, "twice", train, seed=1)
    assert more.inputs["x"].shape == (8, 3)
    assert np.array_equal(more.inputs["x"][:4], train.inputs["x"])
    assert more.labels.tolist() == [0, 1, 0, 1] * 2
    again = factory.augmented(path, "twice", train, seed=1)
    assert np.array_equal(more.inputs["x"], again.inputs["x"])
    assert not np.array_equal(more.inputs["x"], factory.augmented(path, "twice", train, seed=2).inputs["x"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wide", "expected rows of \\[3\\]"), ("short", "x has shape \\[4, 3\\]"), ("broken", "not finite"),
        ("nothing", "gave NoneType, expected a Part"), ("missing", "no function 'missing'"),
    ],
)  # fmt: skip
def test_an_augmentation_that_gives_something_else_is_named(path, name, said):
    train = factory.Part({"x": np.ones((4, 3))}, np.array([0, 1, 0, 1]))
    with pytest.raises(RecipeError, match=said):
        factory.augmented(path, name, train, seed=1)
