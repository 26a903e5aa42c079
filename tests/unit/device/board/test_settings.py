from __future__ import annotations

from pathlib import Path

import pytest

from sprat_device.board import settings
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.phases import ClockState


def _write(state: Path, text: str) -> Path:
    (state / settings.FILE_NAME).write_text(text, encoding="utf-8")
    return state


def test_defaults_need_no_file(tmp_path: Path) -> None:
    found = settings.load(tmp_path)
    assert found.telemetry.cap_bytes == 67_108_864
    assert found.runtime.prefer == ("tflite", "litert", "onnx")
    assert found.clock_state is None
    assert {origin for _, _, origin in found.describe()} == {settings.DEFAULT}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    _write(tmp_path, "[telemetry]\ncap_bytes = 2000000\nwindow_frames = 2\ndaily_bytes = 2\n")
    found = settings.load(
        tmp_path,
        environment={"SPRAT_TELEMETRY_CAP_BYTES": "3000000", "SPRAT_TELEMETRY_WINDOW_FRAMES": "3", "HOME": "/"},
        flags={"telemetry.cap_bytes": "4000000", "telemetry.detail": None},
    )
    assert (found.telemetry.cap_bytes, found.telemetry.window_frames, found.telemetry.daily_bytes) == (4_000_000, 3, 2)
    origins = {key: origin for key, _, origin in found.describe()}
    assert origins["telemetry.cap_bytes"] == "flag"
    assert origins["telemetry.window_frames"] == "environment SPRAT_TELEMETRY_WINDOW_FRAMES"
    assert origins["telemetry.daily_bytes"] == f"{tmp_path / 'sprat.toml'}:4"
    assert origins["telemetry.detail"] == "default"


def test_inputs_are_tables(tmp_path: Path) -> None:
    _write(tmp_path, '[[inputs]]\nmodel = "digits"\nkind = "replay"\npath = "x.npz"\nrate_hz = 50\nloop = true\n')
    (entry,) = settings.load(tmp_path).inputs
    assert (entry.model, entry.kind, entry.path, entry.rate_hz, entry.loop) == ("digits", "replay", "x.npz", 50.0, True)
    given = settings.load(tmp_path, flags={"inputs": [{"model": "wine", "kind": "stdin"}]})
    assert given.inputs[0].model == "wine"
    origins = {key: origin for key, _, origin in given.describe()}
    assert [origins[f"inputs[0].{key}"] for key in ("model", "format")] == ["flag", "default"]
    origins = {key: origin for key, _, origin in settings.load(tmp_path).describe()}
    assert [origins[f"inputs[0].{key}"] for key in ("path", "name")] == [f"{tmp_path / 'sprat.toml'}:4", "default"]


def test_a_fixed_clock_state_is_taken(tmp_path: Path) -> None:
    assert settings.load(tmp_path, flags={"clock": "unsynchronised"}).clock_state is ClockState.UNSYNCHRONISED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[telemetry]\n\ncap_byte = 3\n", r"sprat.toml:3: .*'telemetry.cap_byte'; did you mean 'telemetry.cap_bytes'"),
        ("log_levl = 'info'\n", r"sprat.toml:1: .*did you mean 'log_level'"),
        ("log_level = 'loud'\n", "sprat.toml:1.*found 'loud', expected one of debug"),
        ("[runtme]\nthreads = 1\n", "sprat.toml:1: unknown setting 'runtme'; did you mean 'runtime'"),
        ("[install]\nattempts = true\n", "found True, expected an integer from 1 to 100"),
        ("[telemetry]\nframe_interval_s = nan\n", "expected a number from 0.05"),
        (f"[drift]\npsi = 1{'0' * 400}\n", "expected a number from 0.01"),
        ("[runtime]\nprefer = [['onnx']]\n", "expected a list of tflite, litert, onnx"),
        ('[[inputs]]\nmodel="a"\nkind="file"\npath="/a\\u0000b"\n', "path .*expected a string without a zero character"),
        ('[[inputs]]\nmodel="a"\nkind="command"\ncommand=["a", "\\u0000"]\n', "expected a string without a zero"),
        ("[runtime]\nprefer = ['tensorflow']\n", "expected a list of tflite, litert, onnx"),
        ("[[inputs]]\nmodel='a'\nkind='stdin'\n\n[[inputs]]\nmodel='b'\nknd='stdin'\n", "sprat.toml:7: unknown setting 'knd'"),
        ("[[inputs]]\nmodel='a'\nkind='htp'\n\n[[inputs]]\nmodel='b'\nkind='stdin'\n", r"kind \(.*:3\): found 'htp'"),
        ("[[inputs]]\nmodel='a'\nkind='file'\n\n[[inputs]]\nmodel='b'\nkind='stdin'\n", r"\(.*:1\): kind file needs"),
        ("[[inputs]]\nmodel='a'\n", "'kind' is missing"),
        ("[[inputs]]\nmodel='../a'\nkind='stdin'\n", "model name '../a'"),
        ("[[inputs]]\nmodel='a'\nkind='stdin'\n[[inputs]]\nmodel='a'\nkind='stdin'\n", "'a' has 2 inputs named ''"),
        ("inputs = 3\n", "expected a list of tables"),
        ("inputs = [3]\n", "expected a table"),
        ("log_level = \n", "cannot be read .*line 1"),
        ("telemetry = 3\n", r"sprat.toml:1: found 3, expected a table: \[telemetry\]"),
        ("[hub]\nurl = 'hub.local'\n", "found 'hub.local', expected https://HOST"),
        ("[hub]\nurl = 'https://hub:0'\n", "expected https://HOST"),
        ("[hub]\nurl = 'https://[::1'\n", "expected https://HOST"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        settings.load(_write(tmp_path, text))


def test_unknown_variables_of_our_sections_and_flags_are_errors(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"SPRAT_INSTALL_ATTEMPT: .*did you mean 'SPRAT_INSTALL_ATTEMPTS'"):
        settings.load(tmp_path, environment={"SPRAT_INSTALL_ATTEMPT": "1"})
    with pytest.raises(WrongUse, match="flag 'log-level'"):
        settings.load(tmp_path, flags={"log-level": "info"})
    settings.load(tmp_path, environment={"SPRAT_KEY_PASSPHRASE": "not ours"})
