"""What is frozen of embeddings: principal directions, on rows that the model was not trained on, and nothing that is rounding."""

import numpy as np
import pytest

from sprat.compiler import reference
from sprat.compiler.embedded import Embedded
from sprat.compiler.frontends import outputs
from sprat.compiler.spec import recipe as recipes
from sprat.compiler.spec.factory import Part
from sprat.errors import RecipeError
from sprat_device.contract.sketch import Histogram, psi, psi_noise

TEXT = """
schema = "sprat.recipe/1"
model = "digits"
task = "classification"
labels = ["a", "b"]
{line}
[data]
label = "kind"
[train]
framework = "{framework}"
factory = "factory.py"
[inputs.x]
"""


def cloud(seed, count, *, width=20):
    """Return rows that lie along three directions, 5, 3 and 1 wide, and 0.1 off them; with the directions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))[0].T
    along = rng.normal(0, (5, 3, 1), (count, 3)) @ basis[:3]
    return along + rng.normal(0, 0.1, (count, width)) + 2, basis


def test_the_space_is_that_of_the_covariance_of_the_training_rows():
    train, basis = cloud(1, 2000)
    found = Embedded(train, train).space()
    values, vectors = np.linalg.eigh(np.cov(train, rowvar=False))
    np.testing.assert_allclose(found.spreads, np.sqrt(values[::-1][:8]), rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.directions @ vectors[:, ::-1][:, :8]), np.eye(8), atol=1e-3)
    np.testing.assert_allclose(np.abs(found.directions[:3] @ basis[:3].T), np.eye(3), atol=0.05)
    np.testing.assert_allclose(found.mean, train.mean(axis=0), rtol=1e-5)
    assert all(row[np.abs(row).argmax()] > 0 for row in found.directions), "which way one points is chance otherwise"


def test_directions_that_rounding_fills_are_left_out():
    train, _ = cloud(1, 500)
    train[:, 7:] = 0.25
    narrow = np.zeros_like(train)
    narrow[:, :2] = train[:, :2]
    narrow[:, 2] = train[:, 2] * 1e-4
    assert len(Embedded(narrow, narrow).space().spreads) == 2


def frozen(train, other):
    part = Part({"x": np.zeros((4, 3), np.float32)}, np.zeros(4, np.int64))
    recipe = recipes.parse(TEXT.format(line="", framework="keras"))
    return reference.baseline(part, np.eye(2)[[0, 1, 0, 1]], recipe, shown=Embedded(train, other))


def compared(baseline, rows):
    """Return the PSI of each figure of some rows against the baseline, and its limit by chance."""
    found = {}
    for name, values in baseline.space.figures(np.asarray(rows, np.float32)).items():
        counts = Histogram.empty(baseline.statistic_edges[name])
        counts.add(values)
        reference_counts = baseline.statistic_counts[name]
        limit = psi_noise(len(reference_counts), int(reference_counts.sum()), len(rows))
        found[name] = psi(reference_counts, counts.counts), max(0.25, limit)
    return found


def test_rows_like_the_others_are_no_shift_and_what_lies_off_the_directions_is():
    train, basis = cloud(1, 1000)
    # As a model does: it draws what it was trained on closer together than what it sees later.
    other, seen = (cloud(seed, 600)[0] * 1.3 for seed in (2, 3))
    baseline = frozen(train, other)
    assert baseline.statistic_counts["embedding:distance"].sum() == 600
    assert all(value < limit for value, limit in compared(baseline, seen).values())
    against_training = compared(frozen(train, train), seen)
    assert against_training["embedding:residual"][0] > against_training["embedding:residual"][1]
    off = compared(baseline, seen + 2 * basis[12])
    assert off["embedding:residual"][0] > 1
    far = compared(baseline, 2 + (seen - 2) * 2)
    assert far["embedding:distance"][0] > far["embedding:distance"][1]


def test_lengths_that_are_one_and_the_same_are_not_counted():
    train, _ = cloud(1, 500)
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    assert "embedding:norm" not in frozen(unit, unit).statistic_edges
    flat = train.copy()
    flat[:, 5:] = 0
    assert "embedding:residual" not in frozen(flat, flat).statistic_edges
    assert "embedding:residual" in frozen(train, train).statistic_edges


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((50, 8)), "the same for all 50 rows"),
        (np.full((50, 8), np.nan), "not finite"),
        (np.zeros((5, 4097)), "4097 numbers for a reading, at most 4096"),
    ],
)
def test_an_embedding_that_tells_nothing_is_the_recipe_s_fault(rows, said):
    with pytest.raises(RecipeError, match=said):
        Embedded(rows, rows).space()


@pytest.mark.parametrize(
    ("line", "framework", "said"),
    [
        ('embedding = "features"', "sklearn", "embedding: found 'features', expected none: a pipeline has no layers"),
        ('embedding = "a"\nanswer = ["a", "b"]', "keras", "embedding: found 'a', expected a layer or an output that"),
        ("embedding = 3", "keras", "embedding: found 3, expected a string"),
    ],
)
def test_a_recipe_that_cannot_have_one(line, framework, said):
    with pytest.raises(RecipeError, match=said):
        recipes.parse(TEXT.format(line=line, framework=framework))


def test_an_answer_is_joined_without_what_stands_beside_it():
    found = {"b": np.ones((2, 2)), "a": np.zeros((2, 1)), "seen": np.full((2, 3), 7.0)}
    assert outputs.joined(found, (), beside="seen").tolist() == [[0, 1, 1], [0, 1, 1]]
    assert outputs.joined(found, ()).shape == (2, 6)
    with pytest.raises(RecipeError, match="embedding: output 'sene' is not in the model, which has a, b, seen"):
        outputs.require_embedding("sene", found)
    with pytest.raises(RecipeError, match="only output"):
        outputs.require_embedding("seen", ["seen"])
