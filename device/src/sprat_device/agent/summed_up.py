"""How the agent does, in one line for people: the service manager's status, and a warning where nothing can be answered."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from sprat_device.agent.streams import Streams
from sprat_device.contract.ids import ModelName

_LOG: Final = logging.getLogger("sprat.agent")


def summed_up(streams: Streams, models: Collection[ModelName], *, connected: bool) -> str:
    """Return how many of the pinned models answer, whether there is a connection, and which inputs cannot be read."""
    answering, unfit = len(streams.runtimes), ", ".join(streams.unfit)
    told = f"{answering} of {len(models)} models answer, {'connected' if connected else 'no connection'}"
    return f"{told}, not read: {unfit}" if unfit else told


def warn_of_unfed(streams: Streams, models: Collection[ModelName], settings_file: Path) -> None:
    """Warn of each pinned model that no input of the settings feeds."""
    for model in set(models) - streams.models:
        _LOG.warning(
            "%s: no input feeds it, so nothing is predicted and no trial ends; add an [[inputs]] to %s",
            model, settings_file,
        )  # fmt: skip
