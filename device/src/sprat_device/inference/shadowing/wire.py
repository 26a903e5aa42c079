"""The pipe between the agent and a shadow: msgpack documents behind their length, both ends on one machine."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack
import numpy as np
import numpy.typing as npt

REFUSED: Final = 3
"""The exit code of a shadow's process that cannot run its bundle."""
OUT_OF_MEMORY: Final = 12
_LENGTH: Final = struct.Struct("<I")
_MOST: Final = 512 * 1024 * 1024
_CHUNK: Final = 256 * 1024

Arrays = Mapping[str, npt.NDArray[Any]]


class Wire:
    """One end; `waiting` is called whenever nothing moved for the socket's timeout, and may raise to give up."""

    def __init__(self, end: socket.socket, waiting: Callable[[], None] = lambda: None) -> None:
        self._end = end
        self._waiting = waiting
        self._buffer = bytearray()

    def send(self, document: Mapping[str, object]) -> None:
        """Send a document; OSError where the other end is gone."""
        body = msgpack.packb(document)
        rest = memoryview(_LENGTH.pack(len(body)) + body)
        while rest:
            try:
                rest = rest[self._end.send(rest[:_CHUNK]) :]
            except TimeoutError:
                self._waiting()

    def receive(self) -> dict[str, Any]:
        """Wait for a document; EOFError where the other end is gone."""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > _MOST:
            raise EOFError(f"a document of {length} bytes")
        document: dict[str, Any] = msgpack.unpackb(self._take(length))
        return document

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                found = self._end.recv(_CHUNK)
            except TimeoutError:
                self._waiting()
                continue
            if not found:
                raise EOFError
            self._buffer += found
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def packed(arrays: Arrays) -> dict[str, object]:
    """Return arrays as plain values."""
    return {name: [array.dtype.str, list(array.shape), array.tobytes()] for name, array in arrays.items()}


def unpacked(plain: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `packed` made plain."""
    return {name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in plain.items()}
