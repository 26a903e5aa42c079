"""What a recipe's parts say of each other: labels and task, framework and answer; nothing that it says goes unheard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprat.compiler.spec.sections import Section
from sprat.errors import RecipeError
from sprat_device.contract.manifest import Task

if TYPE_CHECKING:
    from sprat.compiler.spec.recipe import Recipe

_LONGEST_LABEL: Final = 200


def require(top: Section, recipe: Recipe) -> None:
    """Raise RecipeError for the first part that does not fit the others."""
    _require_labels(top, recipe)
    _require_no_answer_among_inputs(top, recipe)
    if recipe.stream and recipe.train.framework != "tflite":
        raise top.wrong(
            "stream", recipe.stream, "no [stream]: it is for a given .tflite that keeps state between readings"
        )
    if recipe.answer and recipe.train.framework == "sklearn":
        raise top.wrong("answer", list(recipe.answer), "none: a pipeline has one answer")
    if recipe.embedding and recipe.train.framework == "sklearn":
        raise top.wrong(
            "embedding", recipe.embedding, "none: a pipeline has no layers; its inputs and scores are compared"
        )
    if recipe.embedding and recipe.embedding in recipe.answer:
        raise top.wrong("embedding", recipe.embedding, "a layer or an output that is no part of the answer")
    if not recipe.inputs:
        raise top.wrong("inputs", {}, "at least one [inputs.NAME] table")
    for spec in recipe.inputs if not recipe.train.given else ():
        if not spec.name.isidentifier():
            raise top.wrong("inputs", spec.name, "names of letters, digits and _, as the artifact's inputs get them")


def _require_labels(top: Section, recipe: Recipe) -> None:
    names, task = list(recipe.labels), recipe.task
    if task is Task.CLASSIFICATION and len(names) < 2:
        raise top.wrong("labels", names, "the names of at least two classes, in order")
    if task is Task.ANOMALY and len(names) != 2:
        raise top.wrong("labels", names, "two names: of the normal rows (0) and of the unusual ones (1)")
    if task is Task.REGRESSION and names:
        raise top.wrong("labels", names, "none: a regression has values")
    for name in names:
        if len(name) > _LONGEST_LABEL or not name.isprintable():
            raise top.wrong("labels", name, f"names of one line, of up to {_LONGEST_LABEL} characters")
    if recipe.data.more_labels and task is not Task.REGRESSION:
        raise top.wrong("data.more_labels", list(recipe.data.more_labels), "none: only a regression has several values")
    if not recipe.data.label and not recipe.train.given:
        raise top.wrong(
            "data.label", "", "the column of labels; only a given model's own answers can stand in for them"
        )


def _require_no_answer_among_inputs(top: Section, recipe: Recipe) -> None:
    """Refuse a label that the model would be fed; an autoencoder's, a whole input that it gives back, is none."""
    answers = {recipe.data.label, *recipe.data.more_labels}
    for spec in recipe.inputs:
        whole = () if recipe.task is Task.REGRESSION else (spec.column,)
        if known := sorted(answers & set(spec.features or whole)):
            path = ("inputs", spec.name, "features" if spec.features else "column")
            raise RecipeError(
                f"{top.source.place(path)}: {'.'.join(path)}: found {known[0]!r}, which is the label; "
                "leave it out, the device does not know it"
            )
