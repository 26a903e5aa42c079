"""`sprat-device run --show-settings`, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sprat_device.__main__ import main


def test_every_setting_is_shown_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sprat.toml").write_text('log_level = "debug"\n', encoding="utf-8")
    shows = ["run", "--show-settings", "--state", str(tmp_path)]
    assert main(shows) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["log_level", "debug", f"{tmp_path / 'sprat.toml'}:1"]
    assert main([*shows, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["settings"]
    assert found[0] == {"setting": "log_level", "value": "debug", "from": f"{tmp_path / 'sprat.toml'}:1"}
    assert {"setting": "drift.readings", "value": "10000", "from": "default"} in found
