import re
from pathlib import Path

import numpy as np
import pytest

from sprat.compiler.proof import yardstick
from sprat.compiler.spec import recipe
from sprat.compiler.spec.factory import Part

MODELS = Path(__file__).parents[3] / "models"


def _part(inputs, labels):
    return Part({"x": inputs}, labels)


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_a_line_is_found_and_a_circle_is_not(rng):
    x = rng.normal(size=(800, 3))
    line, circle = (x @ [1.0, -2.0, 0.5] > 0).astype(int), ((x**2).sum(axis=1) > 2.4).astype(int)
    for truth, low, high in ((line, 0.95, 1.0), (circle, 0.4, 0.65)):
        found = yardstick.linear("accuracy", _part(x[:600], truth[:600]), _part(x[600:], truth[600:]), classes=2)
        assert low <= found <= high


def test_a_regression_is_the_least_squares_of_numpy(rng):
    x = rng.normal(5, 2, size=(400, 4))
    y = (x @ [1.0, 2.0, 0.0, -1.0] + 7 + rng.normal(scale=0.1, size=400))[:, None]
    found = yardstick.linear("mae", _part(x[:300], y[:300]), _part(x[300:], y[300:]), classes=0)
    full = np.c_[x, np.ones(400)]
    best = np.abs(full[300:] @ np.linalg.lstsq(full[:300], y[:300])[0] - y[300:]).mean()
    assert found == pytest.approx(best, abs=0.05)


def test_rows_wider_than_there_are_and_columns_that_stand_still(rng):
    labels = np.arange(60) % 2
    x = rng.normal(size=(60, 30, 20)).astype(np.float32) + 2 * labels[:, None, None]
    x[:, 0] = 3
    assert yardstick.linear("accuracy", _part(x[:40], labels[:40]), _part(x[40:], labels[40:]), classes=2) == 1
    square = rng.normal(size=(50, 50))
    narrow = yardstick._ridge(square, labels[:50, None].astype(float))
    wide = square.T @ np.linalg.solve(square @ square.T + 0.5 * np.eye(50), labels[:50, None])
    np.testing.assert_allclose(narrow, wide)


def test_text_and_missing_values_are_columns_too(rng):
    words = np.array(["east", "west", "north"])[rng.integers(0, 3, 300)]
    labels = (words == "west").astype(int)
    noise = rng.normal(size=(300, 1))
    noise[::7] = np.nan
    train = Part({"room": words[:200, None], "x": noise[:200]}, labels[:200])
    words[250] = "nowhere"
    test = Part({"room": words[200:, None], "x": noise[200:]}, (words[200:] == "west").astype(int))
    assert yardstick.linear("accuracy", train, test, classes=2) == 1


def _recipe(*overrides):
    return recipe.parse((MODELS / "occupancy" / "recipe.toml").read_text(), overrides=overrides)


def _parts(rng):
    x = rng.normal(size=(600, 3))
    labels = (x[:, 0] > 0).astype(int)
    return {"train": _part(x[:400], labels[:400]), "test": _part(x[400:], labels[400:])}


def test_a_lead_that_the_recipe_asks_for_is_a_gate(rng):
    line = yardstick.beside(_recipe(), _parts(rng))
    assert line > 0.95
    assert yardstick.refusal(_recipe(), 0.5, line) is None
    said = str(yardstick.refusal(_recipe("gates.min_lead=0.2"), 0.99, line))
    assert re.match(r"yardstick: balanced_accuracy 0\.9900 against 0\.9\d+ of a linear model is a lead of", said)
    assert yardstick.refusal(_recipe("gates.min_lead=0.01"), 1.1, line) is None


def test_of_an_error_the_lead_is_a_share(rng):
    x = rng.normal(size=(600, 2))
    y = x[:, :1] + rng.normal(size=(600, 1))
    parts = {"train": _part(x[:400], y[:400]), "test": _part(x[400:], y[400:])}
    asked = _recipe("task=regression", "metric=mae", "labels=[]", "gates.min_lead=0.2")
    line = yardstick.beside(asked, parts)
    assert yardstick.refusal(asked, line * 0.79, line) is None
    assert "a lead of 0.19" in str(yardstick.refusal(asked, line * 0.805, line))


def test_nothing_is_said_of_a_model_that_leads_and_a_warning_of_one_that_does_not():
    assert yardstick.remarks("accuracy", 0.9, 0.9) == yardstick.remarks("mae", 0.1, 0.2) == []
    assert yardstick.remarks("accuracy", 0.9, None) == []
    assert "0.9500, the trained one 0.9000" in yardstick.remarks("accuracy", 0.9, 0.95)[0]
    assert yardstick.told("mae", 1, 3, None) == "mae 1.0000; yardsticks: trivial 3.0000"
    assert yardstick.told("mae", float("nan"), 3, None) == "mae: none, the answers are not finite"


def test_values_whose_squares_are_no_numbers_tell_a_line_nothing(rng):
    x = rng.normal(size=(300, 2))
    labels = (x[:, 0] > 0).astype(int)
    huge = x * [1.0, 1e300]
    found = yardstick.linear("accuracy", _part(huge[:200], labels[:200]), _part(huge[200:], labels[200:]), classes=2)
    assert found > 0.95
