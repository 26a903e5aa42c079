"""A step that keeps some columns: what any selection of features comes to once it is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin


class Columns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the columns at these places."""

    def __init__(self, places: npt.NDArray[np.int64]) -> None:
        self.places = places

    def fit(self, X: Any, y: Any = None) -> Columns:  # noqa: ARG002, N803 - scikit-learn's signature
        """Do nothing: the places are known."""
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's signature
        """Return the columns."""
        return X[:, self.places]
