"""Gates on the data: too old (`stale-data`), or features other than those of an earlier build (`feature-changed`).

Both are asked for, never guessed: `data.max_age_days` in the recipe looks at the newest time of `data.time`, or at when
the snapshot's content was first added. `--since BUNDLE` (or `data.since`, a bundle beside the recipe) compares names,
types and ranges with what that bundle's manifest says; `--since last` compares with the newest build of the model here,
and has nothing to say where there is none.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sprat.compiler.spec.gates import GateCode
from sprat.compiler.spec.project import Project
from sprat.compiler.spec.recipe import Recipe
from sprat.data import times
from sprat.data.snapshot import Snapshot
from sprat.data.table import Table, column
from sprat.errors import GateFailed, RecipeError, SpratError
from sprat_device.contract import bundle as bundles

Array = npt.NDArray[Any]
Features = Mapping[str, Mapping[str, Any]]

LAST: Final = "last"
RANGE_MARGIN: Final = 0.5
"""A range has changed where it reaches further than the old one by this share of the old one's width, on either side."""
RANGE_SHRUNK: Final = 0.1
"""... or where it is narrower than this share of it: a sensor that stands still, or another unit."""


def require_fresh(recipe: Recipe, table: Table, *, snapshot: Snapshot | None, now: datetime.datetime) -> None:
    """Raise GateFailed for data older than `data.max_age_days`, RecipeError where nothing says how old it is."""
    plan = recipe.data
    if not plan.max_age_days:
        return
    asked_by = recipe.place(("data", "max_age_days"))
    if plan.time:
        moments = times.seconds(column(table, plan.time, asked_by=recipe.place(("data", "time"))), plan.time)
        newest, what = float(moments.max()), f"the newest row ({plan.time})"
    elif snapshot is not None:
        newest, what = times.parse(snapshot.first_added_at).timestamp(), f"snapshot {snapshot.name!r}"
    else:
        raise RecipeError(
            f"{asked_by}: nothing says how old the data is; name a column in data.time, or build with --data"
        )
    age_days = (now.timestamp() - newest) / 86_400
    if age_days > plan.max_age_days:
        raise GateFailed(
            GateCode.STALE_DATA,
            f"{what} is {age_days:.1f} days old, data.max_age_days allows {plan.max_age_days:g}; bring newer data",
        )


def features(used: Mapping[str, Array], train: Array, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return input -> feature -> type, shape of one row and range in the training rows."""
    return {
        spec.name: {name: _facts(used[name][train]) for name in spec.features or (spec.column,)}
        for spec in recipe.inputs
    }


def require_same(found: Features, wanted: Features | None, *, since: str) -> None:
    """Raise GateFailed with the first change and how many there are; `wanted` is None where nothing came before."""
    changed = changes(wanted, found) if wanted is not None else []
    if changed:
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise GateFailed(
            GateCode.FEATURE_CHANGED,
            f"since {since}: {changed[0]}{more}; mend the data, or build without --since where it is meant",
        )


def changes(before: Features, now: Features) -> list[str]:
    """Return a sentence for each feature that came, went, or changed its place, type or range."""
    said = [f"input {name!r} is gone" for name in before if name not in now]
    said += [f"input {name!r} is new" for name in now if name not in before]
    for name in (name for name in now if name in before):
        old, new = before[name], now[name]
        said += [f"feature {feature!r} is gone" for feature in old if feature not in new]
        said += [f"feature {feature!r} is new" for feature in new if feature not in old]
        for feature in (feature for feature in new if feature in old):
            said += _changed(feature, old[feature], new[feature])
    return said


def reference(since: str, source: Project, runs_dir: Path) -> Features | None:
    """Return the features of a bundle, or of the newest build of this model that came to candidates; None where there is none."""
    if since == LAST:
        return _last_run(runs_dir, source.recipe.model)
    path = Path(since) if Path(since).is_file() else source.file(since)
    try:
        with path.open("rb") as file, bundles.read(file) as bundle:
            manifest = bundle.manifest
    except (OSError, SpratError) as exc:
        raise RecipeError(f"since {since}: not a readable bundle ({exc})") from exc
    if manifest.model != source.recipe.model:
        raise RecipeError(
            f"since {since}: it holds model {manifest.model!r}, the recipe builds {source.recipe.model!r}"
        )
    return _require_features(manifest.provenance, since)


def _last_run(runs_dir: Path, model: str) -> Features | None:
    for path in sorted(runs_dir.glob(f"*-{model}-*.json"), reverse=True):
        try:
            run = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as exc:
            raise RecipeError(f"since last: run {path} cannot be read ({exc}); remove the file") from exc
        # A model that no gate let through is no reference: its data may be what was wrong.
        if run.get("model") == model and "features" in run.get("facts", {}) and not run.get("stopped"):
            return _require_features(run["facts"], path.stem)
    return None


def _require_features(facts: Mapping[str, Any], since: str) -> Features:
    found = facts.get("features")
    if not isinstance(found, dict) or not all(
        isinstance(input_, dict) and all(isinstance(one, dict) for one in input_.values()) for input_ in found.values()
    ):
        raise RecipeError(f"since {since}: it does not say which features it was built with; build it again")
    return found


def _facts(column_: Array) -> dict[str, Any]:
    kind = {"b": "flag", "S": "text", "U": "text"}.get(column_.dtype.kind, "number")
    facts: dict[str, Any] = {"type": kind, "shape": list(column_.shape[1:])}
    if kind == "text" or np.isnan(column_).all():
        return facts
    return facts | {"low": float(np.nanmin(column_)), "high": float(np.nanmax(column_))}


def _changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    for key in ("type", "shape"):
        if old.get(key) != new.get(key):
            return [f"feature {name!r} had {key} {old.get(key)}, now it has {new.get(key)}"]
    if not all(isinstance(facts.get(end), int | float) for facts in (old, new) for end in ("low", "high")):
        return []
    width, now = old["high"] - old["low"], new["high"] - new["low"]
    margin = RANGE_MARGIN * width
    moved = new["low"] < old["low"] - margin or new["high"] > old["high"] + margin
    if not moved and now >= RANGE_SHRUNK * width:
        return []
    return [f"feature {name!r} went from {old['low']:g} to {old['high']:g}, now from {new['low']:g} to {new['high']:g}"]
