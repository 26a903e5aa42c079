"""One `[[inputs]]` while the agent runs: its feed, and the source that each bundle reads it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sprat_device.board.clock import Clock
from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import Manifest
from sprat_device.inference.sources.fitting import Fit, fit, where
from sprat_device.inference.sources.intake import Intake
from sprat_device.inference.sources.item import Feed, Item, Tell
from sprat_device.inference.sources.reading import Numbers, Source, dtypes
from sprat_device.inference.sources.reopening import Reopening
from sprat_device.inference.sources.replay import Replay, load
from sprat_device.inference.sources.vigil import Vigil
from sprat_device.inference.tensors import reading_dtype

Open = Callable[[Fit], Feed]


class Inlet:
    """Opens the feed for the first bundle and keeps it for those that follow."""

    def __init__(self, settings: InputSettings, clock: Clock, tell: Tell, open_: Open) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._open = open_
        self._numbers = Numbers()
        self._feed: Feed | None = None
        self._record_bytes = 0
        self._signed: tuple[object, ...] = ()
        self._source: Source | None = None

    def fitted(self, manifest: Manifest) -> Source:
        """Return the source of a bundle, the same as before where it takes the same; WrongUse where it cannot be fed."""
        signed = _signed(manifest)
        if self._source is None or signed != self._signed:
            self._source = self._replay(manifest) if self._settings.kind == "replay" else self._intake(manifest)
            self._signed = signed
        return self._source

    def _intake(self, manifest: Manifest) -> Source:
        wanted = fit(self._settings, manifest)
        size = 0 if wanted.record is None else wanted.record.size
        if self._feed is None:
            self._record_bytes = size
            self._feed = self._watched(wanted)
        elif size != self._record_bytes:
            raise WrongUse(
                f"{where(self._settings)}: its records have {self._record_bytes} bytes, this bundle takes {size}; "
                "set dtype and shape (or pixels) to what the source sends"
            )
        return Intake(self._feed, wanted, self._numbers)

    def _watched(self, wanted: Fit) -> Feed:
        settings = self._settings
        feed = Reopening(lambda: self._open(wanted), self._tell)
        return Vigil(feed, self._tell, stalled_after_s=settings.stalled_after_s, most_hz=settings.most_hz)

    def _replay(self, manifest: Manifest) -> Source:
        """Return a replay as it is, or with windows made of its rows."""
        settings = self._settings
        wanted = fit(settings, manifest)
        numbers = Numbers() if wanted.windowing else self._numbers
        replay = Replay(
            load(Path(settings.path), dtypes(manifest)), self._clock, rate_hz=settings.rate_hz, loop=settings.loop,
            numbers=numbers,
        )  # fmt: skip
        return Intake(_Rows(replay), wanted, self._numbers) if wanted.windowing else replay


def _signed(manifest: Manifest) -> tuple[object, ...]:
    """Return all of a bundle by which its readings are made: also what may be missing of them, and their dtypes."""
    each = ((spec.missing_allowed, reading_dtype(spec).str) for spec in manifest.inputs)
    return (manifest.input_sig, *each)


@dataclass(slots=True)
class _Rows:
    """A replay's rows as samples."""

    replay: Replay

    def take(self, timeout_s: float) -> Item | None:
        """Return the next row; where a replay begins again, a new sequence does."""
        reading = self.replay.read(timeout_s)
        if reading is None:
            return None
        item = Item(reading.mono_us, reading.wall_us, values=reading.inputs)
        again = reading.index > 0 and reading.index % self.replay.rows == 0
        return replace(item, begins=True) if again else item

    def close(self) -> None:
        """Close the replay."""
        self.replay.close()
