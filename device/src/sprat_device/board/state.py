"""The layout of the state folder, by which an agent knows whether it understands what another version left.

Rules: `state.json` tells the layout, and the oldest layout whose agents may still use the folder; a folder without it is
layout 1, or fresh where no agent has run. A migration may be cut at any write and is then done again from its beginning,
so each must bear that; the new number is written last. A folder that is too new is refused and left as it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError, MachineLacks
from sprat_device.contract.fields import Fields

SCHEMA: Final = "sprat.state/1"
FILE_NAME: Final = "state.json"
LAYOUT: Final = 2
_MARKS: Final = ("spool", "slots", "reported.version", "desired.json")
"""What an agent of layout 1 leaves: without any of it none has run here, and there is nothing to bring on."""
OLDEST: Final = 1
"""Agents of layout 1 know nothing of `state.json`, `runs.json` and `begun.json`, and miss nothing of what they know."""
_LOG: Final = logging.getLogger("sprat.agent")

Migration = Callable[[Path, Files], None]


def _adopt(_state: Path, _files: Files) -> None:
    """Layout 2 only adds files: the number itself, `runs.json` and `begun.json`."""


MIGRATIONS: Final[Mapping[int, Migration]] = {1: _adopt}
"""Layout -> what makes the next one of it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What `state.json` tells."""

    layout: int
    oldest: int = 1
    agent: str = ""


def prepare(
    state: Path,
    files: Files,
    *,
    agent: str,
    layout: int = LAYOUT,
    oldest: int = OLDEST,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> Layout:
    """Bring a state folder to this agent's layout and return what it was; MachineLacks where it is too new."""
    found = read(state, files)
    if found.layout > layout:
        if found.oldest > layout:
            raise MachineLacks(
                f"{state}: written by agent {found.agent or 'unknown'} in layout {found.layout}, this agent understands "
                f"layouts up to {layout}; install agent {found.agent or 'of that version'} or a newer one"
            )
        return found
    if not files.exists(state / FILE_NAME) and not any(files.exists(state / mark) for mark in _MARKS):
        fresh = Layout(layout, oldest, agent)
        _write(state, files, fresh)
        return fresh
    for number in range(found.layout, layout):
        _LOG.info("state folder: layout %d becomes %d", number, number + 1)
        migrations[number](state, files)
        _write(state, files, Layout(number + 1, min(oldest, number + 1), agent))
    return found


def read(state: Path, files: Files) -> Layout:
    """Return the layout of a folder."""
    path = state / FILE_NAME
    if not files.exists(path):
        return Layout(1)
    try:
        fields = Fields(json.loads(files.read(path)), "state")
        fields.schema(SCHEMA)
        return Layout(
            fields.integer("layout", minimum=1),
            fields.integer("oldest", minimum=1, default=1),
            fields.text("agent", default="", max_length=64),
        )
    except (OSError, ValueError, ContractError) as exc:
        # Written in one piece, so this is a defect of the disk. Every room proves its own files: going on is safer.
        _LOG.warning("%s cannot be read (%s), taken for layout %d", path, exc, LAYOUT)
        return Layout(LAYOUT)


def _write(state: Path, files: Files, layout: Layout) -> None:
    document = {"schema": SCHEMA, "layout": layout.layout, "oldest": layout.oldest, "agent": layout.agent}
    try:
        files.write_atomic(state / FILE_NAME, json.dumps(document).encode())
    except OSError as exc:  # the rooms below tell for themselves what the disk does not take
        _LOG.warning("%s cannot be written (%s), tried again at the next start", state / FILE_NAME, exc)
