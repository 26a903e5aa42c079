"""What watches the streams follows the settings that it rests on, and is left alone by all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.device.inference.bundles import KeptRecords

from sprat_device.agent.watching import Watching
from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import DeviceSettings, RuntimeSettings, TelemetrySettings
from sprat_device.board.settings.capture import CaptureSettings
from sprat_device.board.settings.shadow import ShadowSettings
from sprat_device.contract.ids import ModelName
from sprat_device.contract.twin import Desired

NOTHING = Desired(incarnation="i", version=1)


@pytest.mark.parametrize(
    ("changed", "follows"),
    [
        ({"shadow": ShadowSettings(cpu_share=0.5)}, True),
        ({"runtime": RuntimeSettings(threads=2)}, True),
        ({"telemetry": TelemetrySettings(summary_interval_s=7)}, True),
        ({"telemetry": TelemetrySettings(daily_bytes=7)}, False),
        ({"capture": CaptureSettings(daily_bytes=7)}, False),
        ({"log_level": "debug"}, False),
    ],
)
def test_shadows_begin_anew_where_what_they_rest_on_has_changed(
    tmp_path: Path, changed: dict[str, Any], *, follows: bool
) -> None:
    installer: Any = SimpleNamespace(offer_shadow=lambda _model, _offer: None)
    watching = Watching(
        tmp_path, DeviceSettings(), SystemClock(), OsFiles(), recorder=KeptRecords(), installer=installer,  # type: ignore[arg-type]
        models=[ModelName("m")],
    )  # fmt: skip
    before = watching._shadows._ports
    new = replace(DeviceSettings(), **changed)
    watching.rest_on(new)
    after = watching._shadows._ports
    assert (after is not before) is follows
    assert (after.settings, after.runtime, after.interval_s) == (
        new.shadow, new.runtime, new.telemetry.summary_interval_s,
    )  # fmt: skip
    watching.configure(new, NOTHING)
    assert watching._shadows._ports is after, "the same settings again change nothing"


def test_a_shadow_that_is_switched_off_is_not_asked_for(tmp_path: Path) -> None:
    asked: list[object] = []
    installer: Any = SimpleNamespace(offer_shadow=lambda _model, offer: asked.append(offer))
    watching = Watching(
        tmp_path, DeviceSettings(), SystemClock(), OsFiles(), recorder=KeptRecords(), installer=installer,  # type: ignore[arg-type]
        models=[ModelName("m")],
    )  # fmt: skip
    offer: Any = object()
    wished = replace(NOTHING, shadows={"m": offer})
    watching.take(wished)
    watching.configure(replace(DeviceSettings(), shadow=ShadowSettings(enabled=False)), wished)
    watching.configure(DeviceSettings(), wished)
    assert asked == [offer, None, offer]
