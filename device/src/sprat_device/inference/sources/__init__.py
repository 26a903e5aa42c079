"""Where readings come from: a table of kinds, and behind each the same decoding, windows and watch.

A kind is a feed (it carries), opened by the table below, and opened anew when it breaks. Its options stand in
`board/settings/inputs.py`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.settings import InputSettings
from sprat_device.inference.sources.fitting import Fit
from sprat_device.inference.sources.inlet import Inlet as Inlet
from sprat_device.inference.sources.item import Feed, Tell
from sprat_device.inference.sources.splitting import Lines, Records, Splitter


@dataclass(frozen=True, slots=True)
class Opening:
    """What a kind is opened with."""

    settings: InputSettings
    clock: Clock
    fit: Fit
    file: Path | None
    """Where a source may keep how far it has read."""

    def splitter(self) -> Splitter:
        """Return what cuts a stream into pieces."""
        return Lines() if self.fit.record is None else Records(self.fit.record.size)


def _stdin(opening: Opening) -> Feed:
    from sprat_device.inference.sources.descriptor import Descriptor  # noqa: PLC0415

    settings = opening.settings
    if sys.stdin is None:
        raise OSError(errno.EBADF, "is closed; start the agent with an input", "stdin")
    return Descriptor(sys.stdin.fileno(), opening.clock, opening.splitter(), newest=settings.newest)


def _file(opening: Opening) -> Feed:
    from sprat_device.inference.sources.place import Place  # noqa: PLC0415
    from sprat_device.inference.sources.tail import Tail  # noqa: PLC0415

    settings = opening.settings
    place = Place(opening.file, settings.path)
    return Tail(Path(settings.path), opening.clock, place, from_start=settings.from_start)


def _folder(opening: Opening) -> Feed:
    from sprat_device.inference.sources.folder import Folder  # noqa: PLC0415
    from sprat_device.inference.sources.taken import Taken  # noqa: PLC0415

    path = opening.settings.path
    return Folder(Path(path), opening.clock, Taken(opening.file, path))


def _mqtt(opening: Opening) -> Feed:
    from sprat_device.inference.sources.mqtt import Topic  # noqa: PLC0415

    return Topic(opening.settings, opening.clock)


def _command(opening: Opening) -> Feed:
    from sprat_device.inference.sources.command import Child  # noqa: PLC0415

    settings = opening.settings
    return Child(settings.command, opening.clock, opening.splitter(), newest=settings.newest)


def _serial(opening: Opening) -> Feed:
    from sprat_device.inference.sources.serial import open_line  # noqa: PLC0415

    settings = opening.settings
    return open_line(Path(settings.path), settings.baud, opening.clock, opening.splitter(), newest=settings.newest)


def _plugin(opening: Opening) -> Feed:
    from sprat_device.inference.sources.plugin import GROUP, Plugin, found  # noqa: PLC0415

    settings = opening.settings
    return Plugin(
        settings.plugin, lambda: found(GROUP, settings.plugin), settings.options, opening.clock, most=settings.queue
    )


KINDS: Final[Mapping[str, Callable[[Opening], Feed]]] = {
    "stdin": _stdin,
    "file": _file,
    "folder": _folder,
    "mqtt": _mqtt,
    "command": _command,
    "serial": _serial,
    "plugin": _plugin,
}
"""All but `replay`, whose rows are arrays already."""


def open_inlet(settings: InputSettings, clock: Clock, tell: Tell, *, state: Path | None = None) -> Inlet:
    """Return one `[[inputs]]`; `state` is the agent's folder, in which a source may keep its place."""
    name = f"{settings.model}@{settings.name}.{settings.kind}"  # an at sign is in neither name
    file = None if state is None else state / "sources" / name

    def open_(fit: Fit) -> Feed:
        return KINDS[settings.kind](Opening(settings, clock, fit, file))

    return Inlet(settings, clock, tell, open_)
