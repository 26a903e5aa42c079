"""Settings that change while the agent runs: what is applied, what waits, and what the hub may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.unit.device.inference.bundles import KeptRecords

from sprat_device.agent.reloading import Reloader, differing, tuned
from sprat_device.board.settings import DeviceSettings, InputSettings, ServeSettings, TelemetrySettings
from sprat_device.board.settings.remote import RemoteSettings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.twin import Desired, InputMode

BARE = DeviceSettings()
INPUTS = tuple(InputSettings(model="m", kind="stdin", name=name) for name in ("", "b"))


def _desired(**wishes: object) -> Desired:
    return Desired(incarnation="i", version=1, **wishes)  # type: ignore[arg-type]


class Bench:
    """A reloader whose file is a variable."""

    def __init__(self, settings: DeviceSettings = BARE) -> None:
        self.file: DeviceSettings | WrongUse = settings
        self.applied: list[tuple[str, DeviceSettings]] = []
        self.records = KeptRecords()
        live = {name: self._apply(name) for name in ("log_level", "telemetry", "inputs")}
        self.reloader = Reloader(settings, self._read, live, self.records)

    def _apply(self, name: str):  # type: ignore[no-untyped-def]
        return lambda new: self.applied.append((name, new))

    def _read(self) -> DeviceSettings:
        if isinstance(self.file, WrongUse):
            raise self.file
        return self.file

    @property
    def events(self) -> list[tuple[str, Mapping[str, object]]]:
        return [(code, detail) for code, detail, _ in self.records.events]


def test_each_changed_part_is_applied_once_and_what_cannot_be_is_named() -> None:
    bench = Bench()
    telemetry = TelemetrySettings(window_frames=3, frame_interval_s=1, cap_bytes=2**21)
    bench.file = replace(BARE, telemetry=telemetry, clock="synchronised", inputs=INPUTS)
    said = bench.reloader.reload(_desired())
    assert [name for name, _ in bench.applied] == ["telemetry", "inputs"]
    assert all(new is bench.reloader.current for _, new in bench.applied)
    assert said == "3 settings applied, 2 count after a restart"
    assert bench.events == [
        (
            "settings-applied",
            {"by": "file", "settings": ["telemetry.frame_interval_s", "telemetry.window_frames", "inputs"]},
        ),
        ("restart-needed", {"by": "file", "settings": ["clock", "telemetry.cap_bytes"]}),
    ]
    assert bench.reloader.reload(_desired()) == "no setting changed"


def test_a_file_that_cannot_be_read_changes_nothing_and_is_said() -> None:
    bench = Bench()
    bench.file = WrongUse("sprat.toml:3: unknown setting")
    assert bench.reloader.reload(_desired()) == "settings refused: sprat.toml:3: unknown setting"
    assert (bench.applied, bench.reloader.current) == ([], BARE)
    assert bench.events == [("settings-refused", {"detail": "sprat.toml:3: unknown setting"})]


def test_a_part_that_does_not_work_is_said_and_the_others_are_applied() -> None:
    bench = Bench()

    def refuse(_new: DeviceSettings) -> None:
        raise WrongUse("token_file is missing")

    bench.reloader._live = {**bench.reloader._live, "telemetry": refuse}
    bench.file = replace(BARE, telemetry=TelemetrySettings(window_frames=3), inputs=INPUTS)
    bench.reloader.reload(_desired())
    assert [name for name, _ in bench.applied] == ["inputs"]
    assert ("settings-failed", {"section": "telemetry", "detail": "token_file is missing"}) in bench.events


def test_a_part_that_did_not_work_is_tried_again_though_no_setting_changed() -> None:
    bench = Bench()
    well = bench.reloader._live

    def refuse(_new: DeviceSettings) -> None:
        raise WrongUse("token_file is missing")

    bench.reloader._live = {**well, "inputs": refuse}
    bench.file = replace(BARE, inputs=INPUTS)
    bench.reloader.reload(_desired())
    bench.reloader._live = well  # the file that was missing is there
    bench.reloader.follow(_desired())
    assert bench.applied == []  # a word of the hub is no reason to look
    bench.reloader.reload(_desired())
    assert [(name, new.inputs) for name, new in bench.applied] == [("inputs", INPUTS)]
    assert bench.reloader.reload(_desired()) == "no setting changed"


def test_a_token_is_read_again_by_a_reload_though_its_file_has_the_same_name() -> None:
    bench = Bench(replace(BARE, serve=ServeSettings(token_file="/token")))
    bench.reloader._live = {**bench.reloader._live, "serve": bench._apply("serve")}
    assert bench.reloader.reload(_desired()) == "no setting changed"
    bench.reloader.follow(_desired())
    assert [name for name, _ in bench.applied] == ["serve"]
    assert bench.events == []


def test_the_hubs_level_lies_over_the_files_and_is_taken_back() -> None:
    bench = Bench()
    bench.reloader.follow(_desired(log_level="debug"))
    assert bench.reloader.current.log_level == "debug"
    bench.file = replace(BARE, log_level="error")
    bench.reloader.reload(_desired(log_level="debug"))
    assert bench.reloader.current.log_level == "debug"
    bench.reloader.follow(_desired())
    assert bench.reloader.current.log_level == "error"


@pytest.mark.parametrize("level", ["", "loud", "DEBUG"])
def test_a_level_that_is_none_leaves_the_files(level: str) -> None:
    assert tuned(BARE, _desired(log_level=level)).log_level == "info"


def test_inputs_are_the_hubs_only_where_the_owner_says_so() -> None:
    wishes = _desired(inputs={"m/b": InputMode.OFF, "m": InputMode.ON, "stranger": InputMode.OFF})
    kept = replace(BARE, inputs=INPUTS)
    assert tuned(kept, wishes).inputs == INPUTS
    given = replace(kept, remote=RemoteSettings(inputs=True))
    assert tuned(given, wishes).inputs == INPUTS[:1]
    assert tuned(given, _desired()).inputs == INPUTS


def test_origins_are_no_difference() -> None:
    assert differing(BARE, replace(BARE, origins={"log_level": "flag"})) == []
