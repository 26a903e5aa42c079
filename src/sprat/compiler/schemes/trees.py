"""Fewer or shallower trees than the trained model has: smaller and faster, at an accuracy that gate B shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sprat.compiler.frontends import sklearn, sklearn_trees
from sprat.compiler.schemes import float64_onnx
from sprat.compiler.spec.factory import Part
from sprat.compiler.spec.gates import GateCode
from sprat.compiler.workers.work import Lowered, Work
from sprat.errors import GateFailed


@dataclass(frozen=True, slots=True)
class FewerTrees:
    """Which of them, and what share is kept."""

    what: str
    share: float

    def lower(self, work: Work, parts: Callable[[], Mapping[str, Part]]) -> Lowered:
        """Cut and convert; a model without such trees is no candidate."""
        model = sklearn.load(work)
        cut = sklearn_trees.fewer if self.what == "count" else sklearn_trees.shallower
        before, after = cut(model, self.share)
        if before == after:
            name = type(model.steps[-1][1] if hasattr(model, "steps") else model).__name__
            why = "an ensemble of trees" if self.what == "count" else "a forest whose trees could be cut"
            raise GateFailed(GateCode.NO_OP, f"{name} is not {why}")
        lowered = float64_onnx.convert(model, work, parts)
        return replace(lowered, options={**lowered.options, "trees": {self.what: after, "of": before}})


def scheme(*, what: str, share: float) -> FewerTrees:
    """Return one member of the family."""
    return FewerTrees(what, share)
