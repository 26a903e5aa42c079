"""A folder as a batch: one row per file, in the order of their names, read as the folder source reads them.

`.npy`, `.npz`, `.json`, `.ppm` and `.pgm` need nothing else; `.png`, `.jpg`, `.jpeg` and `.bmp` are read where Pillow is
installed, and become what a `.ppm` or `.pgm` of them would be.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import InputSettings
from sprat_device.contract.errors import MachineLacks, WrongUse
from sprat_device.contract.manifest import Manifest
from sprat_device.inference.batch import Piece
from sprat_device.inference.sources.fitting import fit
from sprat_device.inference.sources.item import Unreadable, arrived

_PLAIN: Final = frozenset({".npy", ".npz", ".json", ".ppm", ".pgm"})
_PILLOW: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


def pictures(folder: Path, manifest: Manifest) -> Iterator[Piece]:
    """Read each file of a folder; one that is no input is a piece with its fault. WrongUse where there is none."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PLAIN | _PILLOW)
    if not files:
        raise WrongUse(f"{folder}: no file ends in {', '.join(sorted(_PLAIN | _PILLOW))}")
    if any(path.suffix.lower() in _PILLOW for path in files):
        _pillow(folder)
    return _each(files, manifest)


def _each(files: list[Path], manifest: Manifest) -> Iterator[Piece]:
    clock = SystemClock(None)
    decode = fit(InputSettings(model=manifest.model, kind="folder", path="."), manifest).decode
    for path in files:
        try:
            payload, form = _payload(path)
            decoded = decode(arrived(clock, payload, form=form))
        except (Unreadable, OSError) as exc:
            yield Piece({}, (path.name,), str(exc.detail if isinstance(exc, Unreadable) else exc.strerror or exc))
            continue
        inputs = decoded.inputs if decoded is not None else {}
        yield Piece({name: array[None] for name, array in inputs.items()}, (path.name,))


def _payload(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes and form, an encoded image as the plain one that it holds; OSError for a broken one."""
    if path.suffix.lower() in _PLAIN:
        return path.read_bytes(), path.suffix.lower()
    pillow = _pillow(path)
    plain = io.BytesIO()
    try:
        with pillow.open(path) as image:
            upright = importlib.import_module("PIL.ImageOps").exif_transpose(image)
            grey = upright.mode in {"L", "1"}
            upright.convert("L" if grey else "RGB").save(plain, "PPM")
    except (ValueError, SyntaxError, pillow.DecompressionBombError) as exc:  # what Pillow raises for damage
        raise Unreadable(f"{path.name}: no image ({exc})") from exc
    return plain.getvalue(), ".pgm" if grey else ".ppm"


def _pillow(path: Path) -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as exc:
        raise MachineLacks(
            f"{path}: images need Pillow, which is not installed; pip install pillow, or save them as .ppm"
        ) from exc
