"""For notebooks: `sprat.load(bundle).run(inputs)` answers with the device's own session."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sprat.errors import WrongUse
from sprat_device.contract.manifest import Manifest
from sprat_device.inference.preparing import as_taken
from sprat_device.inference.session import Session
from sprat_device.inference.tensors import reading_dtype


class Model:
    """A loaded bundle; inputs are what a sensor gives, in the declared units, one row or many."""

    def __init__(self, bundle: Path, *, runtime: str | None = None) -> None:
        # The artifact is extracted into a folder that lives as long as this object.
        self._cache = tempfile.TemporaryDirectory(prefix="sprat-session-")
        try:
            self._session = Session.open(bundle, cache=Path(self._cache.name), runtime=runtime)
        except BaseException:
            self._cache.cleanup()
            raise

    @property
    def manifest(self) -> Manifest:
        """Return what the bundle says of itself."""
        return self._session.manifest

    def run(self, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike) -> list[dict[str, Any]]:
        """Return label, name and outputs for each row; a single input needs no name."""
        rows = self._rows(inputs)
        count = {len(array) for array in rows.values()}
        if len(count) != 1:
            raise WrongUse(f"inputs have {sorted(count)} rows, expected one number of rows in all")
        self._session.reset()  # the rows of one call are one sequence, where the model keeps state
        return [self._answer({name: array[i] for name, array in rows.items()}, i) for i in range(count.pop())]

    def close(self) -> None:
        """Remove the extracted artifact."""
        self._cache.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        specs = self.manifest.inputs
        named = inputs if isinstance(inputs, Mapping) else {specs[0].name: inputs}
        rows: dict[str, npt.NDArray[Any]] = {}
        for spec in specs:
            if spec.name not in named:
                raise WrongUse(f"input {spec.name!r} is missing; found {', '.join(named)}")
            # What a notebook has at hand is often float64 or int: the declared dtype is meant.
            array = np.asarray(named[spec.name], reading_dtype(spec))
            rows[spec.name] = array[None] if array.ndim == len(spec.shape) - 1 else array
        return rows

    def _answer(self, inputs: Mapping[str, npt.NDArray[Any]], row: int) -> dict[str, Any]:
        reading = as_taken(inputs, self._session.prepare)
        if reading.fault is not None:
            raise WrongUse(f"row {row}: {reading.fault.detail} ({reading.fault.reason})")
        if reason := self._session.check_input(reading.inputs):
            raise WrongUse(f"row {row}: {reason}; the manifest's inputs say shape, dtype and range")
        label, outputs, _ = self._session.predict(reading.inputs)
        labels = self.manifest.labels
        return {"label": label, "name": labels[label] if 0 <= label < len(labels) else "", "outputs": outputs}

    def _repr_html_(self) -> str:
        manifest = self.manifest
        metric = ", ".join(f"{name} {value:.4f}" for name, value in manifest.metric.items())
        return f"<b>{manifest.model}</b> for {manifest.target}: {manifest.artifact.scheme}, {metric}"


def load(bundle: Path | str, *, runtime: str | None = None) -> Model:
    """Load a bundle with a runtime of this environment."""
    return Model(Path(bundle), runtime=runtime)
