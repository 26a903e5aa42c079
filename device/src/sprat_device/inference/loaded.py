"""What a loop answers with: a session, where its records come from, and what was gathered since it was taken up."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.contract.records import Origin
from sprat_device.inference.answers import Answer
from sprat_device.inference.cache import PredictionCache
from sprat_device.inference.session import Session
from sprat_device.inference.sources.reading import Reading, Source
from sprat_device.inference.tally import Tally


@dataclass(frozen=True, slots=True)
class Loaded:
    """One bundle on one input; all of it ends with the next swap."""

    session: Session
    origin: Origin
    tally: Tally
    source: Source | None = None
    cache: PredictionCache | None = None

    def known(self, reading: Reading) -> tuple[bytes, Answer | None]:
        """Return the key of a reading, and what was answered to an equal one before."""
        if self.cache is None:
            return b"", None
        key = self.cache.key(reading.inputs)
        return key, self.cache.find(key)

    def kept(self, key: bytes, answer: Answer) -> Answer:
        """Return an answer, remembered where there is a cache."""
        if self.cache is not None:
            self.cache.keep(key, answer)
        return answer
