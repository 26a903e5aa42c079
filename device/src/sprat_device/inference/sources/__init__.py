"""Where readings come from: one module per kind, chosen by the input's settings."""

from __future__ import annotations

import sys
from pathlib import Path

from sprat_device.board.clock import Clock
from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.manifest import Manifest
from sprat_device.inference.sources.folder import Folder
from sprat_device.inference.sources.lines import Lines
from sprat_device.inference.sources.reading import Source, dtypes
from sprat_device.inference.sources.replay import Replay, load


def open_source(settings: InputSettings, manifest: Manifest, clock: Clock) -> Source:
    """Open the source of one `[[inputs]]` for a model's inputs."""
    wanted = dtypes(manifest)
    match settings.kind:
        case "replay":
            arrays = load(Path(settings.path), wanted)
            return Replay(arrays, clock, rate_hz=settings.rate_hz, loop=settings.loop)
        case "stdin":
            return Lines(sys.stdin.fileno(), clock, wanted)
        case "folder":
            return Folder(Path(settings.path), clock, wanted)
        case _:
            raise WrongUse(f"inputs: kind {settings.kind!r}, expected replay, stdin or folder")
