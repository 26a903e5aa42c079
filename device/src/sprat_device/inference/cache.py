"""Answers that were given before, by the input's bytes: bounded in entries and bytes, the least recently used goes first.

Only for models without state, where an equal input has an equal answer; one cache for each loaded bundle, so that a
swap begins with an empty one. Keys are 16-byte BLAKE2b digests: two inputs share one by chance once in 2^64 or so.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy.typing as npt

from sprat_device.board.settings.runtime import RuntimeSettings
from sprat_device.contract.manifest import State
from sprat_device.inference.answers import Answer
from sprat_device.inference.session import Session

Inputs = Mapping[str, npt.NDArray[Any]]
ENTRY_BYTES: Final = 384
"""What an entry costs beside its numbers (CPython 3.11): key, place in the order, answer and array header; measured."""


class PredictionCache:
    """Belongs to the thread of one loop."""

    def __init__(self, *, entries: int, max_bytes: int) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._held: OrderedDict[bytes, Answer] = OrderedDict()
        self.bytes = 0
        """What the entries cost, about."""

    @classmethod
    def wanted(cls, session: Session, settings: RuntimeSettings) -> PredictionCache | None:
        """Return the cache of a session, None where the settings want none or its answers depend on what came before."""
        if not settings.cache_entries or session.manifest.state is State.KEPT:
            return None
        return cls(entries=settings.cache_entries, max_bytes=settings.cache_bytes)

    def __len__(self) -> int:
        """Return how many answers are held."""
        return len(self._held)

    @staticmethod
    def key(inputs: Inputs) -> bytes:
        """Return the key of checked inputs; the same number in another dtype is another input."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(inputs):
            array = inputs[name]
            digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
            digest.update(array.tobytes())
        return digest.digest()

    def find(self, key: bytes) -> Answer | None:
        """Return what was answered to this input, if it is still known."""
        answer = self._held.get(key)
        if answer is not None:
            self._held.move_to_end(key)
        return answer

    def keep(self, key: bytes, answer: Answer) -> None:
        """Remember an answer; older ones go until all fit."""
        # A copy: the outputs may be a view of a whole batch.
        kept = Answer(
            answer.label, answer.outputs.copy(), None if answer.embedding is None else answer.embedding.copy()
        )
        if (before := self._held.pop(key, None)) is not None:
            self.bytes -= _cost(before)
        self._held[key] = kept
        self.bytes += _cost(kept)
        while self._held and (len(self._held) > self._entries or self.bytes > self._max_bytes):
            _, gone = self._held.popitem(last=False)
            self.bytes -= _cost(gone)


def _cost(answer: Answer) -> int:
    more = 0 if answer.embedding is None else answer.embedding.nbytes
    return answer.outputs.nbytes + more + ENTRY_BYTES
