"""Two models on the same rows, each right or wrong: whether they differ by chance, and how much at most.

Only the rows that one gets right and the other wrong tell anything: `lost` (the research model alone is right) and
`gained` (the artifact alone is right).
"""

from __future__ import annotations

import math
from collections.abc import Callable

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
_STEPS = 60


def mcnemar(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: chance alone would part the rows at least so unevenly.

    Under chance each of the n = lost + gained rows falls on either side with probability 1/2, so that
    p = min(1, 2 sum_{i <= min(lost, gained)} C(n, i) / 2^n) (McNemar, Psychometrika 12, 1947; the exact form in
    Agresti, Categorical Data Analysis, 3rd ed. 2013, ch. 11.1). 1.0 where no row differs.
    """
    rows = lost + gained
    tail = sum(math.comb(rows, i) for i in range(min(lost, gained) + 1))
    # Of whole numbers as large as these only the quotient fits a float.
    return min(1.0, math.exp(math.log(2 * tail) - rows * math.log(2)))


def interval(lost: float, gained: float, rows: float) -> tuple[float, float]:
    """Return Tango's score interval (95 %) of the drop (lost - gained) / rows.

    The ends are where the score statistic (lost - gained - rows d) / sqrt(rows (2 q + d (1 - d))) is +-1.96, q being
    the share of gained rows that is most likely at that d (Tango, Statistics in Medicine 17, 1998, 891-908; q by his
    equation for the restricted estimate, with the signs for d = lost - gained). Unlike the bootstrap it does not
    shrink to nothing where no row differs: it then reaches z^2 / (rows + z^2).
    """
    value = (lost - gained) / rows
    high = _crossing(lambda drop: _score(lost, gained, rows, drop) + Z_95, value, 1.0)
    low = -_crossing(lambda drop: _score(gained, lost, rows, drop) + Z_95, -value, 1.0)
    return low, high


def rows_to_bound(lost: float, gained: float, rows: int, allowed: float) -> int:
    """Return how many rows it takes until the interval ends at `allowed`, if they differ as often as these; 0 if never."""
    value = (lost - gained) / rows
    if value >= allowed or allowed >= 1:
        return 0

    def bound(more: int) -> float:
        return interval(lost / rows * more, gained / rows * more, more)[1]

    low, high = 1, 2
    while bound(high) > allowed:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bound(middle) > allowed else (low, middle)
    return high


def _score(lost: float, gained: float, rows: float, drop: float) -> float:
    """Return Tango's score statistic of a supposed drop."""
    a = 2 * rows
    b = -lost - gained + (2 * rows - lost + gained) * drop
    c = -gained * drop * (1 - drop)
    share = max(0.0, (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a))
    spread = math.sqrt(rows * max(1e-300, 2 * share + drop * (1 - drop)))
    return (lost - gained - rows * drop) / spread


def _crossing(falls: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function is zero, by halving; `high` where it is positive up to there."""
    if falls(high) > 0:
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if falls(middle) > 0 else (low, middle)
    return high
