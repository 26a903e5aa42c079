"""The slots of all models as the agent holds them: in memory, and on the disk before anything follows from them."""

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

    def load(self, models: Iterable[ModelName]) -> None:
        """Read them all."""
        self._slots.prepare()
        self._pairs = {model: self._slots.load(model) for model in models}

    def of(self, model: ModelName) -> Pair:
        """Return the slots of a model; empty for one that this device does not run."""
        return self._pairs.get(model, Pair())

    def active(self, model: ModelName) -> tuple[Installed, Path] | None:
        """Return the bundle that shall answer and where it stands."""
        active = self.of(model).active
        return (active, self._slots.path(active.bundle)) if active else None

    def flip(self, model: ModelName, new: Installed) -> None:
        """Make a bundle active; repeating it changes nothing."""
        self._set(model, self.of(model).flipped(new))

    def swap_back(self, model: ModelName, failed: Installed) -> None:
        """Go back to the spare where `failed` is active; repeating it changes nothing."""
        self._set(model, self.of(model).swapped_back(failed))

    def give_way(self, model: ModelName, bundle: str) -> None:
        """Go back to the spare, where there is one, from a kept bundle that no longer loads."""
        pair = self.of(model)
        if pair.active and pair.active.bundle == bundle and pair.spare:
            self.swap_back(model, pair.active)

    def restore(self, model: ModelName, kept: Installed) -> bool:
        """Make a confirmed bundle active where the slots were lost and its file is there; tell whether that was so."""
        lost = self.of(model) == Pair() and self._files.exists(self._slots.path(kept.bundle))
        if lost:
            self.flip(model, kept)
        return lost

    def leave_missing(self, model: ModelName) -> Digest | None:
        """Go back from an active bundle whose file is gone, and return its digest."""
        active = self.of(model).active
        if active is None or self._files.exists(self._slots.path(active.bundle)):
            return None
        self.swap_back(model, active)
        return active.bundle

    def keep_only(self, worked_on: Iterable[str]) -> None:
        """Remove every bundle that neither a slot holds nor an install works on."""
        held = {one.bundle for pair in self._pairs.values() for one in (pair.active, pair.spare) if one}
        self._slots.keep_only(held | set(worked_on))

    def _set(self, model: ModelName, pair: Pair) -> None:
        if pair != self.of(model):
            self._slots.store(model, pair)
            self._pairs[model] = pair
