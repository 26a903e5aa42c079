"""One figure of a bench, and whether it meets its goal; that follows from the goal's comparison and nothing else."""

from __future__ import annotations

import operator
import platform
from dataclasses import asdict, dataclass
from typing import Any

_COMPARE = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Row:
    """A figure beside its reference; `goal` compares `measure` ("ratio", "value" or "difference") with a number."""

    bench: str
    figure: str
    value: float
    unit: str
    reference: str
    reference_value: float
    goal: str = ""
    measure: str = "ratio"
    spread: str = ""

    @property
    def ratio(self) -> float:
        """Return value / reference."""
        return self.value / self.reference_value

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is met; None where there is none."""
        if not self.goal:
            return None
        sign, bound = self.goal.split()
        measured = {"ratio": self.ratio, "value": self.value, "difference": self.value - self.reference_value}
        return bool(_COMPARE[sign](measured[self.measure], float(bound)))

    def document(self) -> dict[str, Any]:
        """Return the row as it goes to a file."""
        plain = asdict(self)
        return {**plain, "ratio": round(self.ratio, 4), "met": self.met, "where": platform.platform()}

    def line(self) -> str:
        """Return the row as it is printed."""
        verdict = {True: "met", False: "MISSED", None: "-"}[self.met]
        goal = f"{self.measure} {self.goal}" if self.goal else "no goal"
        return (
            f"{self.bench:10} {self.figure:44} {self.value:10.2f} {self.unit:5} "
            f"reference {self.reference_value:10.2f} ({self.reference})  x{self.ratio:.3f}  {goal}: {verdict} {self.spread}"
        )
