"""A recipe: how to build a model, as frozen data read from TOML (`sprat.recipe/1`).

Every key is known or it is an error that names the line and the nearest known key. `[train]` also takes the keyword
arguments of the factory's `model` function; those are checked against its signature when it is loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from sprat.compiler.spec import fitting, limits, preprocess_plan, range_plan, search_plan, stream_plan
from sprat.compiler.spec.gates import Gates
from sprat.compiler.spec.search_plan import SearchPlan
from sprat.compiler.spec.sections import Section, Source, override, require_finite
from sprat.data.split import BY, METHODS, SplitPlan
from sprat.errors import RecipeError
from sprat_device.contract.ids import ModelName
from sprat_device.contract.manifest import Task

SCHEMA: Final = "sprat.recipe/1"
FRAMEWORKS: Final = ("keras", "sklearn", "tflite", "onnx")
PREFERENCES: Final = ("size", "latency", "metric", "memory")
METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy"),
    Task.REGRESSION: ("mae", "rmse"),
    Task.ANOMALY: ("roc_auc", "average_precision"),
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
    type: str = "number"
    """`number` or `text`: an input holds columns of one kind."""
    missing: str = "refuse"
    """`refuse` rows with missing values, or `keep` them as NaN for a model that fills them itself."""
    unknown: str = "refuse"
    """The device may `refuse` a text or code that the data did not have, or `allow` it for an encoder that knows what to do."""
    codes: tuple[str, ...] = ()
    """Features whose numbers are codes of something: a device takes only those that the data has."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Feature -> the range that it can have, in place of that of its training rows."""


@dataclass(frozen=True, slots=True)
class DataPlan:
    """Where the rows come from: the factory's `data()` or a file beside the recipe; how they are split, how old they may be.

    `file` is a .csv, .npz or .parquet, a folder of images, or `module.py:function`.
    """

    file: str = ""
    label: str = "label"
    more_labels: tuple[str, ...] = ()
    """Further columns of values that a regression predicts beside `label`, in this order."""
    split: SplitPlan = field(default_factory=SplitPlan)
    time: str = ""
    """The column that says when a row was taken: ISO 8601, or seconds since 1970 in UTC."""
    max_age_days: float = 0.0
    """The newest row, or else the snapshot, may be this old; 0: any age."""
    since: str = ""
    """A bundle beside the recipe whose features the data must still have."""


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """How the model is made: a factory file's `model(train, validation, *, seed, …)`, or a given artifact."""

    framework: str
    factory: str = ""
    given: str = ""
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    augment: str = ""
    """The factory's function that adds rows to the training part: `augment(train, *, seed) -> Part`."""


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
    search: SearchPlan = field(default_factory=SearchPlan)
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By target: what the recipe asks for in place of the target's own budget."""
    answer: tuple[str, ...] = ()
    """Outputs that are the answer, in order, where a model has several; empty means all of them, by name."""
    embedding: str = ""
    """What a device compares of the model's inside, and no part of the answer: a layer of a Keras model, or an output."""
    stream: str = ""
    """How a sequence is answered by a model that keeps state: `last` or `max`; empty where each row is one reading."""
    preprocess: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """Input -> the steps from what its sensor gives to what the model takes: the data's rows and a device's go through them."""

    def place(self, path: tuple[str, ...]) -> str:
        """Return where a key stands, for a sentence about it."""
        return self.source.place(path)


def parse(text: str, *, name: str = "recipe.toml", overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe with `key=value` overrides laid over it, or raise RecipeError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{name}: not TOML ({exc})") from exc
    source = Source(text, name, frozenset({override(document, item) for item in overrides}))
    require_finite(document, (), source)
    return _recipe(Section(document, (), source))


def _recipe(top: Section) -> Recipe:
    if (schema := top.take("schema", str)) != SCHEMA:
        raise top.wrong("schema", schema, repr(SCHEMA))
    task = Task(top.choice("task", tuple(Task)))
    recipe = Recipe(
        model=top.name("model"),
        task=task,
        metric=top.choice("metric", METRICS[task], default=METRICS[task][0]),
        about=top.take("about", str, default=""),
        data=_data(top.section("data")),
        train=_train(top.section("train")),
        inputs=tuple(_input(section, name) for name, section in top.sections("inputs")),
        labels=top.strings("labels", default=("normal", "unusual") if task is Task.ANOMALY else ()),
        targets=top.strings("targets", default=("generic-x86_64",)),
        schemes=top.strings("schemes", default=()),
        prefer=top.choices("prefer", PREFERENCES, default=("size",)),
        gates=_gates(top.section("gates")),
        **_golden(top.section("golden")),
        source=top.source,
        search=search_plan.read(top.section("search")),
        limits=limits.read(top.sections("limits")),
        answer=top.strings("answer", default=()),
        embedding=top.take("embedding", str, default=""),
        stream=stream_plan.read(top.section("stream")),
        preprocess=preprocess_plan.read(top.section("preprocess")),
    )
    top.finish()
    kinds = {spec.name: spec.type for spec in recipe.inputs}
    preprocess_plan.require_known(
        recipe.preprocess, kinds, stream=bool(recipe.stream), section=top.section("preprocess")
    )
    fitting.require(top, recipe)
    return recipe


def _data(section: Section) -> DataPlan:
    data = DataPlan(
        file=section.take("file", str, default=""),
        label=section.take("label", str, default="label"),
        more_labels=section.strings("more_labels", default=()),
        time=section.take("time", str, default=""),
        max_age_days=section.take("max_age_days", float, default=0.0),
        since=section.take("since", str, default=""),
    )
    data = replace(data, split=_split(section.section("split"), data.time))
    if data.max_age_days < 0:
        raise section.wrong("max_age_days", data.max_age_days, "days above zero, or 0 for data of any age")
    section.finish()
    return data


def _split(section: Section, time: str) -> SplitPlan:
    shares = tuple(section.take(part, float, default=share) for part, share in _SHARES)
    method = section.choice("method", METHODS, default="stratified")
    plan = SplitPlan(
        method=method,
        seed=section.seed("seed"),
        shares=cast("tuple[float, float, float, float]", shares),
        block_rows=section.take("block_rows", int, default=16),
        by=section.take("by", str, default=time if method == "time" else ""),
    )
    if abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0 or plan.block_rows < 1:
        raise section.wrong("train", list(shares), "shares of train, calibration, validation and test that sum to 1")
    if (method in BY) != bool(plan.by):
        raise section.wrong(
            "by", plan.by, f"a column with method = {' or '.join(sorted(BY))}, and none with the others"
        )
    section.finish()
    return plan


def _train(section: Section) -> TrainPlan:
    framework = section.choice("framework", FRAMEWORKS)
    known = {"framework", "factory", "given", "seed", "augment"}
    parameters = {key: section.take(key, object) for key in section.raw if key not in known}
    plan = TrainPlan(
        framework,
        factory=section.take("factory", str, default=""),
        given=section.take("given", str, default=""),
        seed=section.seed("seed"),
        parameters=parameters,
        augment=section.take("augment", str, default=""),
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
        type=section.choice("type", ("number", "text"), default="number"),
        missing=section.choice("missing", ("refuse", "keep"), default="refuse"),
        unknown=section.choice("unknown", ("refuse", "allow"), default="refuse"),
        codes=section.strings("codes", default=()),
        ranges=range_plan.read(section.section("ranges")),
    )
    section.finish()
    if spec.ranges and (spec.type == "text" or not set(spec.ranges) <= set(spec.features) - set(spec.codes)):
        raise section.wrong("ranges", sorted(spec.ranges), "some of the input's features, of numbers and no codes")
    if spec.codes and (spec.type == "text" or not set(spec.codes) <= set(spec.features)):
        raise section.wrong("codes", list(spec.codes), "some of the input's features, of numbers")
    if spec.minimum > spec.maximum:
        raise section.wrong("minimum", spec.minimum, f"at most the maximum, {spec.maximum:g}")
    if "features" in section.raw and not spec.features:
        raise section.wrong("features", [], "at least one column; leave it out for an input that is one column")
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
