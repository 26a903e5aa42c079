"""Wheelhouses on the board, and variants of them whose agent is of another version or broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from board import Board
from tests.houses import Edit, variant

HOUSE: Final = "/root/house"


def bring(board: Board, house: Path, to: str) -> None:
    """Copy a wheelhouse onto the board, as a stick would."""
    board.guest.must(f"rm -rf {to}")
    board.guest.copy(house, to)


def other(board: Board, version: str, edit: Edit, to: str) -> None:
    """Bring a wheelhouse with another agent."""
    folder = board.world.work / f"house-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    bring(board, variant(board.world.house, folder, version, edit), to)
