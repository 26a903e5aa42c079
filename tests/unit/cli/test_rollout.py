"""What a rollout's first line says, and when following it ends well."""

from __future__ import annotations

from typing import Any

import pytest

from sprat.cli.rollout import _headline, _require_success
from sprat.errors import GateFailed


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


def _ended(phase: str, *states: str) -> dict[str, Any]:
    return {"id": "digits-3-a1b2c3", "phase": phase, "reason": "", "devices": [{"status": state} for state in states]}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (_ended("aborted", "done"), "aborted.*by an operator"),
        (
            _ended("completed", "unfit"),
            r"no device is done \(1 unfit\); `sprat rollout show digits-3-a1b2c3` tells why",
        ),
        (_ended("completed", "failed", "unfit", "failed"), "2 failed, 1 unfit"),
        (_ended("completed"), "it reached none"),
    ],
)
def test_a_rollout_that_no_device_took_is_no_success(found: dict[str, Any], told: str) -> None:
    with pytest.raises(GateFailed, match=told) as refused:
        _require_success(found)
    assert refused.value.exit_code == 1


def test_one_device_done_is_a_success() -> None:
    _require_success(_ended("completed", "failed", "done", "unfit"))
