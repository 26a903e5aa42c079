"""The device's last errors: a few kinds with their counts, held in memory and told with the reported twin.

Nothing is written for them: they lie on the disk as of the last time that `status.json` was written anyway, and an agent
that begins anew goes on from there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sprat_device.contract.last_errors import MOST, MOST_DETAIL, MOST_PLACE, REMEDIES, LastError


class LastErrors:
    """At most MOST kinds; a new one takes the place of the one that came last the longest ago. From any thread."""

    def __init__(self, before: Iterable[LastError] = ()) -> None:
        """Go on from what was told before."""
        self._lock = threading.Lock()
        self._kept = {(error.code, error.at): error for error in list(before)[:MOST][::-1]}

    def saw(self, code: str, detail: Mapping[str, object], *, model: str, wall_us: int) -> None:
        """Take note of an event, if it is an error."""
        if code not in REMEDIES:
            return
        seen = LastError(code, _place(detail, model), _sentence(detail), 1, wall_us, wall_us)
        with self._lock:
            before = self._kept.pop((code, seen.at), None)  # and to the end again: the order is that of the last times
            self._kept[code, seen.at] = (
                replace(seen, count=before.count + 1, first_us=before.first_us) if before is not None else seen
            )
            if len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]

    def told(self) -> tuple[LastError, ...]:
        """Return them, the newest first."""
        with self._lock:
            return tuple(self._kept.values())[::-1]


def _place(detail: Mapping[str, object], model: str) -> str:
    """Return the model, `model/input`, or the output, by its name or else its kind."""
    if "output" in detail:
        return f"output {detail['output'] or detail.get('kind', '')}"[:MOST_PLACE]
    return "/".join(str(part) for part in (model or detail.get("model"), detail.get("input")) if part)[:MOST_PLACE]


def _sentence(detail: Mapping[str, object]) -> str:
    """Return an event's detail as one line: its reason and sentence where it has them, else its values."""
    said = ": ".join(str(detail[key]) for key in ("reason", "detail") if detail.get(key))
    said = said or ", ".join(
        f"{key} {value}" for key, value in detail.items() if key not in {"model", "input", "output", "kind"}
    )
    return " ".join(said.split())[:MOST_DETAIL]
