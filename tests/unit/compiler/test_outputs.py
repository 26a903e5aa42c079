"""Several outputs, one probability and whole sequences: how an answer comes of them; and what keeps state."""

from __future__ import annotations

import numpy as np
import pytest

from sprat.compiler.frontends import outputs
from sprat.compiler.frontends.states import state_of
from sprat.errors import RecipeError
from sprat_device.contract.manifest import State


def test_outputs_are_joined_by_name_or_as_the_recipe_says():
    found = {"b": np.full((2, 1), 2.0), "a": np.arange(4.0).reshape(2, 2, 1)}
    assert outputs.joined(found, ()).tolist() == [[0, 1, 2], [2, 3, 2]]
    assert outputs.joined(found, ("b", "a")).tolist() == [[2, 0, 1], [2, 2, 3]]
    assert outputs.joined(found, ("b",)).tolist() == [[2], [2]]
    with pytest.raises(RecipeError, match="output 'c' is not in the model, which has a, b"):
        outputs.joined(found, ("c",))


def test_a_models_outputs_have_the_names_of_its_export():
    assert sorted(outputs.named([np.zeros(1), np.zeros(1)])) == ["output_0", "output_1"]
    assert sorted(outputs.named({"scores": np.zeros(1)})) == ["scores"]
    assert sorted(outputs.named(np.zeros(1))) == ["output_0"]


def test_one_probability_becomes_two_only_for_two_classes():
    one = np.array([[0.25], [1.0]])
    assert outputs.widened(one, classes=2).tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert outputs.widened(one, classes=0) is one


def test_a_sequence_is_answered_by_its_last_or_its_highest_reading():
    rows = np.array([[0.1], [0.9], [0.3], [0.5], [0.2], [0.4]])
    assert outputs.reduced(rows, 3, "last").tolist() == [[0.3], [0.4]]
    assert outputs.reduced(rows, 3, "max").tolist() == [[0.9], [0.5]]
    assert outputs.reduced(rows, 0, "") is rows
    assert outputs.flattened(np.zeros((4, 3, 5)), 3).shape == (12, 5)


@pytest.mark.parametrize(
    ("ops", "stream", "state"),
    [
        (("CONV_2D", "SOFTMAX"), False, State.NONE),
        (("CONV_2D", "SOFTMAX"), True, State.NONE),
        (("UNIDIRECTIONAL_SEQUENCE_LSTM",), False, State.CLEARED),
        (("VAR_HANDLE", "READ_VARIABLE"), True, State.KEPT),
    ],
)
def test_operators_tell_what_is_kept(ops, stream, state):
    assert state_of(ops, stream=stream) is state


@pytest.mark.parametrize(
    ("scores", "are"), [([0.0, 1.0005], True), ([0.2, 0.2], True), ([-0.1, 0.5], False), ([0.5, 3.0], False)]
)
def test_logits_are_told_from_probabilities(scores, are):
    assert outputs.are_probabilities(np.array([scores])) is are
