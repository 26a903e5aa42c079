"""A folder of images, one subfolder for each class: `image` (uint8 [rows, height, width, channels]), `label`, `file`.

All images have one size and one number of channels: nothing is resized behind the author's back. JPEGs are turned as
their camera says, for the pixels are what the model is fed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from sprat.data.table import MAX_BYTES, Column, needed
from sprat.errors import ContractError

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})
_CHANNELS: Final = {"L": 1, "RGB": 3}


def read(path: Path) -> dict[str, Column]:
    """Return the three columns, classes and files in the order of their names, or raise ContractError."""
    files = _files(path)
    pillow = needed("PIL.Image", "images", "pillow")
    first = _pixels(pillow, files[0], path)
    if first.size * len(files) > MAX_BYTES:
        raise ContractError(f"{len(files)} images of {first.size} bytes each, at most {MAX_BYTES} are allowed in all")
    pixels = np.empty((len(files), *first.shape), np.uint8)
    for row, file in enumerate(files):
        found = _pixels(pillow, file, path)
        if found.shape != first.shape:
            raise ContractError(
                f"{file.relative_to(path)} is {_shown(found)}, expected {_shown(first)} as {files[0].relative_to(path)}; "
                "bring all images to one size"
            )
        pixels[row] = found
    return {
        "image": pixels,
        "label": np.asarray([file.parent.name for file in files]),
        "file": np.asarray([file.relative_to(path).as_posix() for file in files]),
    }


def _files(path: Path) -> Sequence[Path]:
    found: list[Path] = []
    for folder in _visible(path):
        if not folder.is_dir():
            raise ContractError(f"found the file {folder.name}, expected one folder for each class; move it out")
        images = _visible(folder)
        strange = [one for one in images if not one.is_file() or one.suffix.lower() not in _SUFFIXES]
        if strange:
            raise ContractError(f"found {strange[0].relative_to(path)}, expected .png or .jpg images; move it out")
        found += images
    if not found:
        raise ContractError("found no image, expected a folder for each class with .png or .jpg images in it")
    return found


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _pixels(pillow: ModuleType, file: Path, top: Path) -> Column:
    place = file.relative_to(top)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns of a picture that unpacks to far more than it shows
            with pillow.open(file, formats=("PNG", "JPEG")) as image:
                if image.mode not in _CHANNELS:
                    raise ContractError(
                        f"{place} is of Pillow's mode {image.mode!r}, expected grey (L) or RGB; convert it"
                    )
                turned: Any = needed("PIL.ImageOps", "images", "pillow").exif_transpose(image)
                array = np.asarray(turned, np.uint8)
    except (OSError, SyntaxError, ValueError, Warning, pillow.DecompressionBombError) as exc:
        raise ContractError(f"{place} is not a readable image ({str(exc)[:120]})") from exc
    return array.reshape(*array.shape[:2], -1)


def _shown(pixels: Column) -> str:
    height, width, channels = pixels.shape
    return f"{width}x{height} pixels with {channels} channel{'s' if channels > 1 else ''}"
