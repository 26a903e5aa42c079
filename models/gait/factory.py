"""A walker's sensors: Daphnet's subject 6 (Bächlin et al., IEEE TITB 14(2), 2010), and a forest that isolates what is odd.

Nine channels: acceleration (in thousandths of g) forward, vertical and sideways at ankle, thigh and trunk, 64 readings a
second. The excerpt in the `aeon` package holds no labelled freeze of gait. The odd rows are therefore made, and said to
be: in some stretches one sensor has slipped round on its strap, which turns its axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sprat import Part

PLACES = ("ankle", "leg", "trunk")
AXES = ("horiz_fwd", "vert", "horiz_lateral")
EVERY, STRETCH, SLIPPED_SHARE, SEED = 4, 32, 0.12, 5
"""Every fourth reading is kept (neighbours are nearly equal); a stretch is two seconds."""


def data() -> dict[str, Any]:
    """Return the readings in their order, nine columns, and whether a sensor has slipped."""
    import csv
    import importlib.util
    from pathlib import Path

    import numpy as np

    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the readings are in the package aeon: pip install --no-deps aeon")
    path = Path(spec.origin).parent / "datasets" / "data" / "Daphnet_S06R02E0" / "S06R02E0.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::EVERY]
    readings = {f"{p}_{a}": np.array([float(row[f"{p}_{a}"]) for row in rows]) for p in PLACES for a in AXES}
    rng = np.random.default_rng(SEED)
    slipped = np.repeat(rng.random(len(rows) // STRETCH + 1) < SLIPPED_SHARE, STRETCH)[: len(rows)]
    place = np.repeat(rng.integers(0, len(PLACES), len(rows) // STRETCH + 1), STRETCH)[: len(rows)]
    for number, name in enumerate(PLACES):
        turned = slipped & (place == number)
        up, side = readings[f"{name}_vert"].copy(), readings[f"{name}_horiz_lateral"].copy()
        readings[f"{name}_vert"][turned], readings[f"{name}_horiz_lateral"][turned] = side[turned], -up[turned]
    return {**readings, "slipped": slipped.astype(np.int64)}


def model(train: Part, validation: Part, *, seed: int, trees: int = 20, rows: int = 256) -> Any:
    """Fit the forest without looking at the labels; few trees: a hundred find hardly more, in five times the bytes."""
    from sklearn.ensemble import IsolationForest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del validation  # nothing is stopped early
    forest = IsolationForest(n_estimators=trees, max_samples=rows, random_state=seed)
    return make_pipeline(StandardScaler(), forest).fit(train.inputs["reading"])
