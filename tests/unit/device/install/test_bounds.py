"""The updater's own limits, in a process of its own: they cannot be taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _told(code: str) -> str:
    begin = "from sprat_device.install.bounds import limit_memory, unlimited; import resource, pathlib; "
    done = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_kernel_ends_it_before_the_agent() -> None:
    if not os.access("/proc/self/oom_score_adj", os.W_OK):
        pytest.skip("this container does not show /proc/self/oom_score_adj")
    before = int(Path("/proc/self/oom_score_adj").read_text())
    score = _told("limit_memory(0); print(pathlib.Path('/proc/self/oom_score_adj').read_text())")
    assert int(score) == 800 > before


def test_its_data_is_bounded_and_its_childs_is_not() -> None:
    code = (
        "limit = lambda: resource.getrlimit(resource.RLIMIT_DATA)[0]; free = limit(); limit_memory(65536); own = limit()\n"
        "with unlimited(): child = limit()\n"
        "print(own == 65536 * 1024, child == free, limit() == own)"
    )
    assert _told(code) == "True True True"
