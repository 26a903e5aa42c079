"""The slots of all models as the agent holds them: in memory, and on the disk before anything follows from them.

A kept bundle that does not load steps aside, in memory alone: the spare stands in, and a restart tries the bundle again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sprat_device.board.files import Files
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.twin import Installed
from sprat_device.install.slots import Pair, Slots


class Pairs:
    """Active and spare bundle of each model."""

    def __init__(self, files: Files, state: Path) -> None:
        self._files = files
        self._slots = Slots(files, state)
        self._pairs: dict[ModelName, Pair] = {}
        self._aside: dict[ModelName, Digest] = {}

    def load(self, models: Iterable[ModelName]) -> None:
        """Read them all."""
        self._slots.prepare()
        self._pairs = {model: self._slots.load(model) for model in models}

    def of(self, model: ModelName) -> Pair:
        """Return the slots of a model as they answer; empty for one that this device does not run."""
        pair = self._held(model)
        steps_aside = pair.active is not None and pair.active.bundle == self._aside.get(model)
        return Pair(pair.spare, pair.active) if steps_aside else pair

    def active(self, model: ModelName) -> tuple[Installed, Path] | None:
        """Return the bundle that shall answer and where it stands."""
        active = self.of(model).active
        return (active, self._slots.path(active.bundle)) if active else None

    def flip(self, model: ModelName, new: Installed) -> None:
        """Make a bundle active beside what answers now; repeating it changes nothing."""
        self._set(model, self.of(model).flipped(new))
        self._aside.pop(model, None)

    def swap_back(self, model: ModelName, failed: Installed) -> None:
        """Go back to the spare where `failed` is active; repeating it changes nothing."""
        self._set(model, self._held(model).swapped_back(failed))

    def kept(self, model: ModelName) -> Installed | None:
        """Return the bundle that shall answer, even while the spare stands in for it."""
        return self._held(model).active

    def step_aside(self, model: ModelName) -> bool:
        """Let the spare answer for the kept bundle; tell whether there is one, and it did not do so before."""
        pair = self._held(model)
        if pair.active is None or pair.spare is None or self._aside.get(model) == pair.active.bundle:
            return False
        self._aside[model] = pair.active.bundle
        return True

    def step_back(self, model: ModelName) -> None:
        """Let the kept bundle answer again."""
        self._aside.pop(model, None)

    def settle(self, model: ModelName) -> None:
        """Keep on the disk, too, what answers now."""
        self._set(model, self.of(model))
        self._aside.pop(model, None)

    def mend(self, model: ModelName) -> bool:
        """Write slots anew that were read from their copy; tell whether that was so."""
        restored = model in self._slots.restored
        if restored:
            self._slots.store(model, self._held(model))
        return restored

    def restore(self, model: ModelName, kept: Installed) -> bool:
        """Make a confirmed bundle active where the slots were lost and its file is there; tell whether that was so."""
        lost = self._held(model) == Pair() and self._files.exists(self._slots.path(kept.bundle))
        if lost:
            self.flip(model, kept)
        return lost

    def leave_missing(self, model: ModelName) -> Digest | None:
        """Go back from an active bundle whose file is gone, and return its digest."""
        active = self._held(model).active
        if active is None or self._files.exists(self._slots.path(active.bundle)):
            return None
        self.swap_back(model, active)
        return active.bundle

    def keep_only(self, worked_on: Iterable[str]) -> None:
        """Remove every bundle that neither a slot holds nor an install works on."""
        held = {one.bundle for pair in self._pairs.values() for one in (pair.active, pair.spare) if one}
        self._slots.keep_only(held | set(worked_on))

    def _held(self, model: ModelName) -> Pair:
        return self._pairs.get(model, Pair())

    def _set(self, model: ModelName, pair: Pair) -> None:
        if pair != self._held(model):
            self._slots.store(model, pair)
            self._pairs[model] = pair
