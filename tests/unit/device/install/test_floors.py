from pathlib import Path

import pytest

from sprat_device.board.files import OsFiles
from sprat_device.contract.errors import BundleRefused
from sprat_device.install.floors import PairedRecord, ReleaseFloors


def test_a_damaged_record_falls_to_the_one_before(tmp_path: Path) -> None:
    record = PairedRecord(OsFiles(), tmp_path / "floors")
    assert record.load() == {}
    for value in (1, 2, 3):
        record.store({"value": value})
    newest = max(("a", "b"), key=lambda side: (tmp_path / f"floors.{side}").read_bytes().count(b'"value": 3'))
    (tmp_path / f"floors.{newest}").write_bytes(b"\0\0\0")
    assert record.load() == {"value": 2}
    record.store({"value": 4})  # over the damaged one
    assert record.load() == {"value": 4}


def test_no_whole_record_is_an_error_and_not_a_beginning(tmp_path: Path) -> None:
    record = PairedRecord(OsFiles(), tmp_path / "floors")
    record.store({"value": 1})
    (tmp_path / "floors.a").write_bytes(b"")
    with pytest.raises(BundleRefused, match="damaged"):
        record.load()


def test_release_floors_only_rise(tmp_path: Path) -> None:
    floors = ReleaseFloors(OsFiles(), tmp_path)
    floors.raise_to("digits", 9)
    floors.raise_to("digits", 3)
    floors.raise_to("other", 1)
    assert (floors.of("digits"), floors.of("other"), floors.of("none")) == (9, 1, 0)
