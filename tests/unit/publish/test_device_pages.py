"""docs/updates.md and docs/telemetry.md name every setting, with its default, and every event of their room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sprat_device.board import settings
from sprat_device.board.settings.device import KEYS
from sprat_device.contract.phases import Reason

OURS = r"(#[^\n]*\n)*(\[\[(inputs|outputs)\]\]|\[(telemetry|install|runtime|serve|capture|shadow|drift|remote|health|hub)\])"
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


PAGES = {
    "capture": "capture.md", "drift": "drift.md", "health": "daemon.md", "remote": "daemon.md", "runtime": "serving.md",
    "serve": "serving.md", "shadow": "shadow.md",
}  # fmt: skip


@pytest.mark.parametrize("key", [key for key in KEYS if key.partition(".")[0] in PAGES or "." not in key])
def test_every_setting_of_a_section_is_on_its_page(key: str) -> None:
    section, _, name = key.rpartition(".")
    told = rf"`({section}\.)?{name}( = [^`]*)?`|^{name} = "
    assert re.search(told, page(PAGES.get(section, "daemon.md")), re.MULTILINE), key


def test_every_setting_that_a_page_names_exists() -> None:
    sections = {key.partition(".")[0] for key in KEYS if "." in key}
    named = {
        key
        for path in (ROOT / "docs").glob("*.md")
        for key in re.findall(r"`([a-z]+\.[a-z0-9_]+)\b", path.read_text("utf-8"))
        if key.partition(".")[0] in sections and not key.endswith((".md", ".py", ".toml", ".json"))
    }
    assert len(named) >= 20
    assert named - KEYS.keys() == set()


def test_every_section_and_key_of_the_examples_is_taken(tmp_path: Path) -> None:
    """Every example of `sprat.toml` in the docs is read by the agent's own reader."""
    read = 0
    for path in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"^```toml\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            if not re.match(OURS, block.lstrip()):
                continue
            (tmp_path / "sprat.toml").write_text(block, encoding="utf-8")
            settings.load(tmp_path, environment={})
            read += 1
    assert read >= 8


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


def test_every_reason_of_an_install_is_told_with_what_to_do() -> None:
    told = "".join(re.findall(r"^\| `.*\|$", page("updates.md").partition("## Settings")[0], re.MULTILINE))
    of_readings = {Reason.NON_FINITE, Reason.RUN_FAILED}
    for reason in Reason:
        assert reason.startswith("input-") or reason in of_readings or f"`{reason}`" in told, reason


@pytest.mark.parametrize("code", ["gap", "detail", "identity-clash", "frame-conflict"])
def test_every_event_of_telemetry_is_told(code: str) -> None:
    assert f"`{code}`" in page("telemetry.md")
