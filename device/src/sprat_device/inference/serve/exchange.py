"""A request whose rows are with a loop: gathers what becomes of them, until all have an answer or the time is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from sprat_device.contract.manifest import Manifest
from sprat_device.inference.serve.wire import Response
from sprat_device.inference.sources.reading import Reply

Row = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What answers for a model at the moment."""

    manifest: Manifest
    bundle: str
    release_seq: int
    runtime: str
    batches: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one request; `single` tells that they came as one, and are answered so."""

    rows: Sequence[Row]
    single: bool = True
    begins: bool = False
    """The first row begins a new sequence."""
    held: object = None
    """The claim to the room that they take, for as long as they are there."""


class Exchange:
    """Replies come from the loop's thread (the last ones from who closes its desk), the rest happens in the server's."""

    def __init__(self, asked: Rows, render: Callable[[Sequence[Reply]], Response]) -> None:
        self.asked = asked
        self.given_up = False
        """Nobody waits any more: rows that were not run yet are left out."""
        self.until_s = 0.0
        self.done: Callable[[Exchange], None] = lambda _exchange: None
        self._render = render
        self._replies: list[Reply | None] = [None] * len(asked.rows)
        self._missing = len(asked.rows)
        self._counting = threading.Lock()

    def take(self, row: int, reply: Reply) -> None:
        """Keep the reply to one row; after the last one the server is told."""
        with self._counting:
            self._replies[row] = reply
            self._missing -= 1
            last = not self._missing
        if last:
            self.done(self)

    def response(self) -> Response:
        """Return the response, once all replies are there."""
        return self._render([reply for reply in self._replies if reply is not None])
