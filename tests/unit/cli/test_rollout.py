"""What a rollout's first line says."""

from __future__ import annotations

from typing import Any

import pytest

from sprat.cli.rollout import _headline


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["done", "offered"], "1 of 2 devices done"),
        (["unfit"], "0 of 1 devices done, 1 unfit"),
        (["done", "failed", "unfit", "unfit"], "1 of 4 devices done, 1 failed, 2 unfit"),
    ],
)
def test_devices_that_do_not_take_a_release_are_counted(states: list[str], told: str) -> None:
    found: dict[str, Any] = {
        "id": "digits-3-a1b2c3", "phase": "completed", "reason": "", "wave": 0, "spec": {"waves": [{"percent": 100}]},
        "devices": [{"status": state} for state in states],
    }  # fmt: skip
    assert _headline(found) == f"digits-3-a1b2c3: completed, wave 1 of 1, {told}"
