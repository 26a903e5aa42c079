"""Which machine the agent's own programs run on, in the words of `platform.machine()`.

A 32-bit Raspberry Pi OS boots a 64-bit kernel on the boards that can: the kernel then says aarch64 while everything
above it, the runtimes too, is armv7l. What counts is what this Python is.
"""

from __future__ import annotations

import platform
import sys
from typing import Final

_32_BIT_UNDER: Final = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
"""What a kernel says -> what a 32-bit program under it is."""


def arch() -> str:
    """Return the architecture that this Python was built for."""
    return arch_of(platform.machine(), is_32_bit=sys.maxsize < 2**32)


def arch_of(machine: str, *, is_32_bit: bool) -> str:
    """Return what a program is under a kernel that calls itself `machine`."""
    return _32_BIT_UNDER.get(machine, machine) if is_32_bit else machine
