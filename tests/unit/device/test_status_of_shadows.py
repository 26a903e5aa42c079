"""What `sprat-device status` says of a shadow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from sprat_device import status
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.twin import InstallReport, ModelReport, ShadowReport

BUNDLE = "cd" * 32
CHECKED = InstallReport(Phase.CHECKED, 8, BUNDLE)


def line(shadow: ShadowReport | None) -> str:
    document: dict[str, Any] = {
        "device": "d1", "running": True, "report_age_s": 0.0, "certificate_ends": "2099-01-01T00:00:00+00:00",
        "deferred_s": 0, "spool_bytes": 0, "floors": {}, "runtimes": [], "runs": {}, "errors": [],
        "report": {
            "agent": "1", "channel": "canary", "clock": "synchronised", "ledger": {},
            "models": {"digits": asdict(ModelReport(shadow=shadow))},
        },
    }  # fmt: skip
    return "".join(told.strip() for told in status.lines(document) if "shadow" in told)


@pytest.mark.parametrize(
    ("shadow", "told"),
    [
        (None, ""),
        (
            ShadowReport(CHECKED, "running", BUNDLE, "onnx", 60, 57, 1),
            "shadow: release 8 (cdcdcdcdcdcd) is running (onnx); 57 of 60 answers agree",
        ),
        (ShadowReport(CHECKED), "shadow: release 8 (cdcdcdcdcdcd) is not running"),
        (
            ShadowReport(CHECKED, "given-up", "", "memory: 90 KiB"),
            "shadow: release 8 (cdcdcdcdcdcd) is given-up (memory: 90 KiB)",
        ),
        (
            ShadowReport(InstallReport(Phase.REFUSED, 8, BUNDLE, "r", "below-floor", "the floor is 9")),
            "shadow: release 8 (cdcdcdcdcdcd) is refused: below-floor, the floor is 9",
        ),
    ],
)
def test_a_line_for_each_state(shadow: ShadowReport | None, told: str) -> None:
    assert line(shadow) == told
