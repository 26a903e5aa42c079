"""The bytes that captures may take in one UTC day, a share of them for each rule; what is spent survives a restart.

The file says what may have been spent: a rule's lease is written before it is used, so a power cut can lose the rest of
a lease but never give a day's bytes twice. A share opens over the day, a tenth at once and the rest as the hours pass,
so that one odd morning does not take all of it. A new day begins when one has passed: a clock that jumps grants nothing
(`board/days.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sprat_device.board.days import DAY_US, Days, Moment, parse
from sprat_device.board.files import Files
from sprat_device.contract.capture import Rule
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

SCHEMA: Final = "sprat.capture-budget/1"
_AT_ONCE: Final = 0.1
_LEASES: Final = 32
"""Writes to the disk for one rule in one day, at most about so many."""


class Budget:
    """What each rule may still take today."""

    def __init__(self, files: Files, path: Path, limits: Mapping[Rule, int]) -> None:
        self._files = files
        self._path = path
        self.limits = dict(limits)
        self._day, self._leased, self._days = self._load()
        self._spent = dict(self._leased)

    def open(self, now: Moment) -> frozenset[Rule]:
        """Return the rules that have something left now."""
        self._follow(now)
        return frozenset(rule for rule in self.limits if self._left(rule, now) > 0)

    def spend(self, rule: Rule, size: int, *, now: Moment) -> bool:
        """Take so many bytes of a rule's share if they are there; OSError where the disk cannot keep that in mind."""
        self._follow(now)
        if size > self._left(rule, now):
            return False
        spent = self._spent.get(rule, 0) + size
        if spent > self._leased.get(rule, 0):
            limit = self.limits.get(rule, 0)
            lease = max(spent, min(limit, spent + limit // _LEASES))
            self._store({**self._leased, rule: lease})
        self._spent[rule] = spent
        return True

    def _left(self, rule: Rule, now: Moment) -> float:
        passed = (now.wall_us % DAY_US) / DAY_US
        return self.limits.get(rule, 0) * min(1.0, _AT_ONCE + passed) - self._spent.get(rule, 0)

    def _follow(self, now: Moment) -> None:
        if self._days.passed(self._day, now) and now.day != self._day:
            self._day = now.day
            self._days.begin(now)
            self._leased, self._spent = {}, {}

    def _store(self, leased: dict[Rule, int]) -> None:
        since = {} if self._days.since is None else {"since": self._days.since.plain()}
        document = {"schema": SCHEMA, "day": self._day, "leased": leased, **since}
        self._files.write_atomic(self._path, json.dumps(document, sort_keys=True).encode())
        self._leased = leased

    def _load(self) -> tuple[int, dict[Rule, int], Days]:
        if not self._files.exists(self._path):
            return -1, {}, Days()
        try:
            fields = Fields(json.loads(self._files.read(self._path)), "capture budget")
            fields.schema(SCHEMA)
            leased = fields.mapping("leased", lambda raw, where: Fields({where: raw}, "").integer(where))
            known = {Rule(name): size for name, size in leased.items() if name in set(Rule)}
            since = None if fields.absent("since") else fields.value("since", parse)
            return fields.integer("day", minimum=-1), known, Days(since)
        except (OSError, ValueError, ContractError):
            # Damaged although it is written whole or not at all: worn flash. A day's bytes begin anew, once.
            return -1, {}, Days()
