"""What comes out of damaged archives, whichever their format: more than their readers' own errors.

A size that was damaged, for one, is too great for an index or for the memory.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import Final

OF_ARCHIVES: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError,
    OverflowError, RecursionError, MemoryError,
)  # fmt: skip
