"""The device's own unit tests (spool, frames, segments, settings, install machine) against the installed wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from rows import Table
from userland import ROOT, Board

PLACES: Final = ("tests/unit/device", "tests/contract")
_UNIT: Final = "tests/unit/device"
_AS_ANOTHER: Final = (
    "test_owner.py::test_what_root_does_there_leaves_what_the_agent_can_use",
    "test_owner.py::test_who_may_not_look_into_the_folder_is_told_so_and_not_that_it_is_damaged",
    "test_upkeep.py::test_root_asks_for_an_identity_as_the_agents_user_whatever_lies_in_its_folder",
)
_LEFT_OUT: Final = (
    # Bounded by wall time: an emulated core has none to spare.
    f"--ignore={_UNIT}/inference/test_shadow.py",
    f"--deselect={_UNIT}/inference/test_capture.py::test_a_loop_never_waits_for_a_hook_that_hangs",
    # qemu-user lets a program ask for such a limit, and keeps none.
    f"--deselect={_UNIT}/install/test_bounds.py::test_its_data_is_bounded_and_its_childs_is_not",
    # A user namespace, as enter.sh makes it, has root and nobody else whom root could become.
    *(f"--deselect={_UNIT}/board/{test}" for test in _AS_ANOTHER),
    # Minutes there, and nothing in it that a processor could change.
    f"--ignore={_UNIT}/inference/test_batch_files.py",
    f"--ignore={_UNIT}/inference/test_hostile_sources.py",
    f"--ignore={_UNIT}/test_optimised.py",
)
_TIMEOUT_S: Final = 1800
_CONFTEST: Final = """
from hypothesis import settings

settings.register_profile("emulated", deadline=None, max_examples=20)
settings.load_profile("emulated")
"""


def run(board: Board, table: Table) -> None:
    """Run the tests with a copy of the tree's tests; nothing of the tree's code is there."""
    work = board.work / f"{board.name}-units"
    work.mkdir()
    shutil.copytree(ROOT / "tests", work / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", work)
    shutil.copytree(ROOT / "docs", work / "docs")  # tests ask whether every setting is in there
    (work / "conftest.py").write_text(_CONFTEST)
    options = ["-q", "-p", "no:cacheprovider", *_LEFT_OUT]
    command: list[str | Path] = [board.python, "-P", "-c", _START.format(work=str(work)), *options, *PLACES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    passed = re.search(r"\d+ passed", last)
    told = re.sub(r"=+ ?| in [\d.]+s.*", "", last)
    ok = done.returncode == 0 and passed is not None
    if not ok:
        table.tell(done.stdout + done.stderr, lines=40)
    table.show(
        board.name,
        "unit and contract tests of the wheel",
        told,
        expected="all pass",
        ok=ok,
    )


_START: Final = """
import os, sys, pytest
os.chdir({work!r}); sys.path.insert(0, {work!r})
sys.exit(pytest.main(sys.argv[1:]))
"""
