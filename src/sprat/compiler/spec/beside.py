"""Files that a given `.onnx` keeps its weights in: they decide the bytes as the file itself does.

A place of weights stands in the file as the plain text of a path. So a file below the folder whose path stands there is
one of them: nothing has to be parsed, and one too many is only hashed as well.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_FILES: Final = 10_000


def weights_of(given: Path) -> list[Path]:
    """Return the files that a given file points to, in order; none for any other kind, or where it cannot be read."""
    if given.suffix != ".onnx" or not given.is_file() or not given.stat().st_size:
        return []  # its frontend says what is wrong with it
    folder = given.parent
    near = itertools.islice(_below(folder), _MOST_FILES)
    with given.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return sorted(path for path in near if path != given and path.is_file() and _named(path, folder, text))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, those beside the given one first; hidden folders hold no weights."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(files))


def _named(path: Path, folder: Path, text: mmap.mmap) -> bool:
    return text.find(path.relative_to(folder).as_posix().encode()) >= 0
