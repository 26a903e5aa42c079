"""docs/updates.md and docs/telemetry.md name every setting, with its default, and every event of their room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sprat_device.board.settings.device import KEYS

ROOT = Path(__file__).parents[3]
INSTALL = ROOT / "device/src/sprat_device/install"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def rows(name: str) -> dict[str, str]:
    """Return setting -> default as the page's tables have them."""
    found = re.findall(r"^\| ((?:`[a-z_.]+`(?:, )?)+) \|([^|]*)\|", page(name), re.MULTILINE)
    return {key: default.strip() for keys, default in found for key in re.findall(r"`([a-z_.]+)`", keys)}


def shown(value: object) -> str:
    match value:
        case str():
            return f'`"{value}"`'
        case tuple():
            return "`[]`"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


@pytest.mark.parametrize(("name", "section"), [("updates.md", "install"), ("telemetry.md", "telemetry")])
def test_every_setting_is_told_with_its_default(name: str, section: str) -> None:
    told = rows(name)
    for key, entry in KEYS.items():
        if key.startswith(f"{section}."):
            assert told.pop(key.partition(".")[2]) == shown(entry.default), key
    assert all(key in KEYS for key in told if key.startswith("hub."))


def test_every_way_to_the_hub_is_told() -> None:
    assert {key for key in KEYS if key.startswith("hub.")} <= set(rows("telemetry.md"))


def test_every_event_of_an_install_is_told() -> None:
    text = page("updates.md")
    sources = "".join(path.read_text("utf-8") for path in INSTALL.glob("*.py"))
    codes = set(re.findall(r'(?:tell\(|append\(\(|\[\()"([a-z-]+)"', sources))
    codes -= {"bundle-loaded"}  # nothing is wrong, and nothing to be done
    assert len(codes) >= 6
    for code in codes:
        assert f"`{code}`" in text, code


@pytest.mark.parametrize("code", ["gap", "detail", "identity-clash", "frame-conflict"])
def test_every_event_of_telemetry_is_told(code: str) -> None:
    assert f"`{code}`" in page("telemetry.md")
