"""How much memory the updater may take, so that what it does never costs the agent its life.

The limit is on data (`RLIMIT_DATA`: heap and private writable mappings), so code and shared libraries do not count. Where
the whole machine runs out, the kernel shall end the updater before anything else.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

OUT_OF_MEMORY: Final = 137
"""The exit code of who ran out of memory, as a shell tells it of who was killed for that."""
KILLED: Final = frozenset({OUT_OF_MEMORY, -int(signal.SIGKILL)})
"""Exit codes of a child that ran out of memory, or was killed, which nothing but the lack of memory does here."""
_OOM_SCORE: Final = "800"
"""Of 1000; ordinary processes have 0 and a share for their size."""


def limit_memory(kib: int) -> None:
    """Limit this process from here on; 0 is no limit."""
    with suppress(OSError):  # not every container shows it
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    if kib:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = kib * 1024
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


@contextmanager
def unlimited() -> Iterator[None]:
    """Lift the limit for a child that is started in here: what it may take, the release says and the machine has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
