"""Raw frames of a camera as arrays [height, width, 3] or [height, width], uint8.

`yuv420` is planar: Y, then U and V at half the width and height (`libcamera-vid --codec yuv420`). Its conversion is that of
full-range BT.601 (JFIF 1.02): R = Y + 1.402 (V - 128), G = Y - 0.344136 (U - 128) - 0.714136 (V - 128), B = Y + 1.772 (U - 128).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_TO_RGB: Final = np.array([[0.0, 1.402], [-0.344136, -0.714136], [1.772, 0.0]], np.float32)
"""Rows: red, green, blue; columns: U and V."""


def frame_bytes(pixels: str, width: int, height: int) -> int:
    """Return how many bytes a frame has."""
    return width * height * _BITS[pixels] // 8


def as_image(payload: bytes, pixels: str, width: int, height: int) -> Image:
    """Return one frame as an array."""
    return _READERS[pixels](np.frombuffer(payload, np.uint8), width, height)


def _rgb24(flat: Image, width: int, height: int) -> Image:
    return flat.reshape(height, width, 3)


def _bgr24(flat: Image, width: int, height: int) -> Image:
    return flat.reshape(height, width, 3)[..., ::-1]


def _gray8(flat: Image, width: int, height: int) -> Image:
    return flat.reshape(height, width)


def _yuv420(flat: Image, width: int, height: int) -> Image:
    luma, rows, columns = width * height, height // 2, width // 2
    # Each chroma value lights four pixels, so its shift is worked out once, and rounded: luma is whole.
    light = flat[:luma].reshape(rows, 2, columns, 2, 1).astype(np.int16)
    colour = flat[luma : luma + 2 * rows * columns].reshape(2, -1).astype(np.float32) - 128
    shift = np.rint(_TO_RGB @ colour).astype(np.int16).T.reshape(rows, 1, columns, 1, 3)
    mixed = light + shift
    image: Image = np.clip(mixed, 0, 255, out=mixed).reshape(height, width, 3).astype(np.uint8)
    return image


_BITS: Final = {"rgb24": 24, "bgr24": 24, "gray8": 8, "yuv420": 12}
"""For each pixel, on average."""
_READERS: Final[Mapping[str, Callable[[Any, int, int], Image]]] = {
    "rgb24": _rgb24, "bgr24": _bgr24, "gray8": _gray8, "yuv420": _yuv420,
}  # fmt: skip


def as_portable(payload: bytes) -> Image:
    """Read a binary PPM (P6) or PGM (P5) of 8 bits (netpbm's ppm(5), pgm(5)); ValueError where it is none."""
    fields: list[bytes] = []
    place = 0
    while len(fields) < 4:
        end = place
        while end < len(payload) and payload[end : end + 1].isspace():
            end += 1
        if payload[end : end + 1] == b"#":
            place = payload.index(b"\n", end) + 1
            continue
        begin = end
        while end < len(payload) and not payload[end : end + 1].isspace():
            end += 1
        if begin == end or end - begin > 9:
            raise ValueError("no header of a PPM or PGM image")
        fields.append(payload[begin:end])
        place = end
    kind, width, height, most = fields[0], *map(int, fields[1:])
    if kind not in (b"P5", b"P6") or most != 255 or width < 1 or height < 1:
        raise ValueError("expected a binary PPM (P6) or PGM (P5) of 8 bits")
    pixels = "rgb24" if kind == b"P6" else "gray8"
    body = payload[place + 1 :]
    if len(body) < frame_bytes(pixels, width, height):
        raise ValueError(f"{len(body)} bytes for {width} x {height} pixels")
    return as_image(body[: frame_bytes(pixels, width, height)], pixels, width, height)
