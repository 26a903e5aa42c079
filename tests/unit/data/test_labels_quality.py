import numpy as np
import pytest

from sprat.data import labels, quality
from sprat.errors import RecipeError

NAMES = ("off", "on")


def test_labels_are_names_or_positions():
    assert labels.encode(np.array(["on", "off"]), NAMES).tolist() == [1, 0]
    assert labels.encode(np.array([1.0, 0.0]), NAMES).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [["on", "up"], [0, 2], [-1, 0], [0.5, 1], [np.nan, 1]])
def test_labels_that_are_neither_are_refused(bad):
    with pytest.raises(RecipeError):
        labels.encode(np.array(bad), NAMES)


def test_findings_name_missing_constant_doubled_and_rare():
    table = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([2.0, 2.0, 2.0]), "c": np.array([2.0, 2.0, 2.0])}
    assert {(f.column, f.code) for f in quality.examine(table)} == {
        ("a", "missing"), ("b", "constant"), ("c", "constant"), ("c", "doubled"),
    }  # fmt: skip
    assert [f.code for f in quality.balance(np.array([0] * 100 + [1]), NAMES)] == ["rare-class"]
    assert quality.examine({"a": np.arange(3.0)}) == []
