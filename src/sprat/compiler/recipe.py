"""A recipe: how to build a model, as frozen data read from TOML (`sprat.recipe/1`).

Every key is known or it is an error that names the line and the nearest known key. `[train]` also takes the keyword
arguments of the factory's `model` function; those are checked against its signature when it is loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from sprat.compiler.gates import Gates
from sprat.compiler.sections import Section, Source, override
from sprat.data.split import METHODS, SplitPlan
from sprat.errors import RecipeError
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import Task

SCHEMA: Final = "sprat.recipe/1"
FRAMEWORKS: Final = ("keras", "sklearn", "tflite", "onnx")
PREFERENCES: Final = ("size", "latency", "metric", "memory")
METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy"),
    Task.REGRESSION: ("mae", "rmse"),
    Task.ANOMALY: (),
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input as the sensor gives it: columns of a table (`features`), or one array column."""

    name: str
    features: tuple[str, ...] = ()
    column: str = ""
    unit: str = ""
    minimum: float = 0.0
    maximum: float = 0.0
    """The range that a reading can have; equal means unknown."""


@dataclass(frozen=True, slots=True)
class DataPlan:
    """Where the rows come from: the factory's `data()` or a file beside the recipe; and how they are split."""

    file: str = ""
    label: str = "label"
    split: SplitPlan = field(default_factory=SplitPlan)


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """How the model is made: a factory file's `model(train, validation, *, seed, …)`, or a given artifact."""

    framework: str
    factory: str = ""
    given: str = ""
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes, besides data and versions."""

    model: ModelName
    task: Task
    metric: str
    about: str
    data: DataPlan
    train: TrainPlan
    inputs: tuple[InputSpec, ...]
    labels: tuple[str, ...]
    targets: tuple[str, ...]
    schemes: tuple[str, ...]
    prefer: tuple[str, ...]
    gates: Gates
    golden_count: int
    golden_inputs: str
    source: Source

    def place(self, path: tuple[str, ...]) -> str:
        """Return where a key stands, for a sentence about it."""
        return self.source.place(path)


def parse(text: str, *, name: str = "recipe.toml", overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe with `key=value` overrides laid over it, or raise RecipeError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{name}: not TOML ({exc})") from exc
    given = {override(document, item) for item in overrides}
    return _recipe(Section(document, (), Source(text, name, frozenset(given))))


def _recipe(top: Section) -> Recipe:
    if (schema := top.take("schema", str)) != SCHEMA:
        raise top.wrong("schema", schema, repr(SCHEMA))
    task = Task(top.choice("task", tuple(Task)))
    recipe = Recipe(
        model=top.name("model"),
        task=task,
        metric=top.choice("metric", METRICS[task], default=(*METRICS[task], "")[0]),
        about=top.take("about", str, default=""),
        data=_data(top.section("data")),
        train=_train(top.section("train")),
        inputs=tuple(_input(section, name) for name, section in top.sections("inputs")),
        labels=top.strings("labels", default=()),
        targets=top.strings("targets", default=("generic-x86_64",)),
        schemes=top.strings("schemes", default=()),
        prefer=top.choices("prefer", PREFERENCES, default=("size",)),
        gates=_gates(top.section("gates")),
        **_golden(top.section("golden")),
        source=top.source,
    )
    top.finish()
    if not METRICS[task]:
        raise top.wrong("task", task.value, "classification or regression (anomaly is not built yet)")
    if task is Task.CLASSIFICATION and len(recipe.labels) < 2:
        raise top.wrong("labels", list(recipe.labels), "the names of at least two classes, in order")
    if not recipe.inputs:
        raise top.wrong("inputs", {}, "at least one [inputs.NAME] table")
    return recipe


def _data(section: Section) -> DataPlan:
    cut = section.section("split")
    shares = tuple(cut.take(part, float, default=share) for part, share in _SHARES)
    plan = SplitPlan(
        method=cut.choice("method", METHODS, default="stratified"),
        seed=cut.take("seed", int, default=0),
        shares=cast("tuple[float, float, float, float]", shares),
        block_rows=cut.take("block_rows", int, default=16),
    )
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0 or plan.block_rows < 1:
        raise cut.wrong("train", list(shares), "shares of train, calibration, validation and test that sum to 1")
    cut.finish()
    data = DataPlan(section.take("file", str, default=""), section.take("label", str, default="label"), plan)
    section.finish()
    return data


def _train(section: Section) -> TrainPlan:
    framework = section.choice("framework", FRAMEWORKS)
    known = {"framework", "factory", "given", "seed"}
    parameters = {key: section.take(key, object) for key in section.raw if key not in known}
    plan = TrainPlan(
        framework,
        factory=section.take("factory", str, default=""),
        given=section.take("given", str, default=""),
        seed=section.take("seed", int, default=0),
        parameters=parameters,
    )
    if framework in {"keras", "sklearn"} and not plan.factory:
        raise section.wrong("factory", "", "the name of a Python file beside the recipe")
    if framework in {"tflite", "onnx"} and not plan.given:
        raise section.wrong("given", "", f"the name of a .{framework} file beside the recipe")
    return plan


def _input(section: Section, name: str) -> InputSpec:
    spec = InputSpec(
        name=name,
        features=section.strings("features", default=()),
        column=section.take("column", str, default=name),
        unit=section.take("unit", str, default=""),
        minimum=section.take("minimum", float, default=0.0),
        maximum=section.take("maximum", float, default=0.0),
    )
    section.finish()
    return spec


def _gates(section: Section) -> Gates:
    defaults = Gates()
    values = {
        key: section.take(key, float, default=getattr(defaults, key)) for key in Gates.__dataclass_fields__
    }  # fmt: skip
    section.finish()
    return Gates(**values)


def _golden(section: Section) -> dict[str, Any]:
    count = section.take("count", int, default=32)
    if not 1 <= count <= 1000:
        raise section.wrong("count", count, "1 to 1000 rows")
    inputs = section.choice("inputs", ("real", "synthetic"), default="real")
    section.finish()
    return {"golden_count": count, "golden_inputs": inputs}


_SHARES: Final = (("train", 0.6), ("calibration", 0.1), ("validation", 0.1), ("test", 0.2))
