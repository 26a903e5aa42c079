"""Does this runtime give what the build froze? Compares a session's raw outputs with the golden set, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sprat_device.contract import embedding
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.manifest import Tolerance
from sprat_device.contract.phases import Reason
from sprat_device.inference.session import Session


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How far the worst output was off; `worst` is None where it cannot be said (not finite, or another text)."""

    count: int
    worst: float | None
    tolerance: float
    kind: str
    what: str = "outputs"
    """`outputs`, or `embeddings` where these alone are off."""

    @property
    def ok(self) -> bool:
        """Tell whether every output is within the tolerance."""
        return self.worst is not None and self.worst <= self.tolerance


def reproduce(session: Session, golden: GoldenSet) -> GoldenResult:
    """Run the golden inputs as readings come, one by one, and compare."""
    manifest = session.manifest
    tolerance = manifest.golden.tolerances.get(session.runtime)
    expected = golden.outputs.get(session.runtime)
    if tolerance is None or expected is None or expected.keys() != {spec.name for spec in manifest.outputs}:
        raise BundleRefused(Reason.BAD_BUNDLE, f"golden set: no outputs and tolerance for runtime {session.runtime}")
    require_inputs(session, golden.inputs)
    found = run_rows(session, golden.inputs)
    errors = {name: _error(found[name], expected[name]) for name in expected}
    count, spec = manifest.golden.count, embedding.of(manifest.outputs)
    beside = manifest.golden.embedding_tolerances.get(session.runtime)
    if spec is None or beside is None:
        return _result(count, errors.values(), tolerance)
    seen = _result(count, [errors.pop(spec.name)], beside, "embeddings")
    answered = _result(count, errors.values(), tolerance)
    return answered if seen.ok or not answered.ok else seen


def _result(count: int, errors: Iterable[float | None], tolerance: Tolerance, what: str = "outputs") -> GoldenResult:
    known = list(errors)
    worst = None if None in known else max(error for error in known if error is not None)
    return GoldenResult(count, worst, tolerance.value, tolerance.kind, what)


def require_inputs(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse a bundle whose golden inputs its own session would not take."""
    for row in range(session.manifest.golden.count):
        reason = session.check_input({name: array[row] for name, array in inputs.items()})
        if reason is not None:
            raise BundleRefused(Reason.BAD_BUNDLE, f"golden set: row {row} is not an input of this model ({reason})")


def run_rows(session: Session, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Run arrays of shape [count, ...] row by row and return raw outputs of shape [count, ...].

    Never as one batch: dynamic quantization scales over the whole tensor, so a batch would give other answers than
    the device does. A stream begins anew with each sequence of the golden set's length.
    """
    count = len(next(iter(inputs.values())))
    length = session.manifest.golden.sequence_rows or count
    rows = []
    for row in range(count):
        if row % length == 0:
            session.reset()
        rows.append(session.run_raw({name: array[row : row + 1] for name, array in inputs.items()}))
    names = [spec.name for spec in session.manifest.outputs]
    return {name: np.concatenate([row[name] for row in rows]) for name in names}


def _error(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float | None:
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return None
    if found.dtype.kind in "SU":
        return 0.0 if np.array_equal(found, expected) else None
    worst = float(np.max(np.abs(found.astype(np.float64) - expected.astype(np.float64))))
    return worst if np.isfinite(worst) else None
