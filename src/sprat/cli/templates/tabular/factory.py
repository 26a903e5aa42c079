"""A table and a scikit-learn pipeline. Here: three wines by their chemistry (scikit-learn's wine data, 178 rows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sprat import Part


def data() -> dict[str, Any]:
    """Return columns by name, all of one length; or leave this out and name a .csv under [data] in the recipe."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    columns = {name.replace("/", "_"): wine.data[:, i] for i, name in enumerate(wine.feature_names)}
    return {**columns, "cultivar": wine.target}


def model(train: Part, validation: Part, *, seed: int, trees: int = 30, depth: int = 5) -> Any:
    """Fit the whole way from raw readings to the answer; keyword arguments are set under [train] in the recipe."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del validation
    forest = RandomForestClassifier(n_estimators=trees, max_depth=depth, random_state=seed)
    return make_pipeline(StandardScaler(), forest).fit(train.inputs["reading"], train.labels)
