"""What scripts/test-arm demands of an emulated machine before it believes anything that ran there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[3] / "scripts" / "arm"
NAMES = {path.stem for path in HERE.glob("*.py")}
RIGHT = {"machine": "aarch64", "cpu": "cortex-a72", "sys": True, "parts": ["0xd08"], "root_is_writable": False}


@pytest.fixture
def machine_facts() -> Iterator[Any]:
    """The scripts' modules have short names of their own: they leave as they came."""
    kept = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules and name != "__main__"}
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module("machine_facts")
    finally:
        sys.path.remove(str(HERE))
        for name in NAMES - {"__main__"}:
            sys.modules.pop(name, None)
        sys.modules.update(kept)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, []),
        ({"cpu": "max"}, ["cpu is 'max'"]),
        ({"cpu": None}, ["cpu is None"]),
        ({"sys": False}, ["sys is False"]),
        ({"parts": []}, ["parts is []"]),  # an x86 host's cpuinfo names none
        ({"parts": ["0xd03"]}, ["parts is ['0xd03']"]),
        ({"machine": "x86_64", "root_is_writable": True}, ["machine is 'x86_64'", "root_is_writable is True"]),
    ],
)
def test_each_of_the_conditions_is_demanded(machine_facts: Any, wrong: dict[str, Any], said: list[str]) -> None:
    asked = {"arch": "aarch64", "core": "cortex-a72", "parts": machine_facts._parts("cortex-a72")}
    assert machine_facts.differing({**RIGHT, **wrong}, **asked) == said


def test_a_machine_that_says_nothing_fulfils_none(machine_facts: Any) -> None:
    assert len(machine_facts.differing({"error": "crashed"}, arch="armv7l", core="cortex-a7", parts=["0xc07"])) == 5
