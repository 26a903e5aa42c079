"""Reads the data files of this folder: what is valid survives a read and a write, what is not says exactly why.

A file is named `<kind>.<case>.<ext>`; beside an invalid one stands `<kind>.<case>.error` with the whole message. Frames
are made by `make_frames.py`; the committed bytes are the contract, so a change of them is a change of the contract.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import msgpack
import pytest

from sprat_device.contract import acks, capture, frame, manifest, records, release, shadow, topics, twin, wheelhouse
from sprat_device.contract.errors import BundleRefused, ContractError

HERE = Path(__file__).parent


def read_frame(raw: bytes) -> dict[str, object]:
    whole = frame.open_frame(raw)
    found = records.decode(whole.body, count=whole.header.count)
    plain: dict[str, object] = {"header": {**asdict(whole.header), "boot_id": whole.header.boot_id.hex()}}
    if isinstance(found, records.PredictionColumns):
        names = ("index", "mono_us", "label", "latency_us", "outputs")
        return {**plain, "columns": {n: getattr(found, n).tolist() for n in names}, "origin": found.origin._asdict()}
    return {**plain, "rows": [asdict(row) for row in found]}


def read_capture(raw: bytes) -> dict[str, object]:
    found = capture.parse(msgpack.unpackb(raw))
    inputs = {name: [array.dtype.str, array.tolist()] for name, array in found.inputs.items()}
    return {**asdict(replace(found, inputs={})), "inputs": inputs}


_READERS: dict[str, Callable[[bytes], bytes]] = {
    "frame": lambda raw: json.dumps(read_frame(raw)).encode(),
    "manifest": lambda raw: manifest.parse(raw).dump(),
    "release": lambda raw: json.dumps(release.parse(json.loads(raw)).dump()).encode(),
    "desired": lambda raw: twin.parse_desired(raw).dump(),
    "reported": lambda raw: twin.parse_reported(raw).dump(),
    "ack": lambda raw: acks.parse(raw).dump(),
    "capture": lambda raw: json.dumps(read_capture(raw)).encode(),
    "shadow": lambda raw: json.dumps(shadow.parse(json.loads(raw)).detail()).encode(),
    "wheelhouse": lambda raw: wheelhouse.parse(raw).dump(),
    "topic": lambda raw: str(topics.parse(raw.decode().rstrip("\n"))).encode(),
}


def read_and_write(kind: str, raw: bytes) -> bytes:
    """Parse a document and dump it again."""
    return _READERS[kind](raw)


def files(folder: str) -> list[Path]:
    return [p for p in sorted((HERE / folder).iterdir()) if not p.name.endswith((".error", ".expected.json"))]


def kind_of(path: Path) -> str:
    return path.name.split(".", 1)[0]


def holds(part: object, whole: object) -> bool:
    """Tell whether everything in `part` stands in `whole`, which may say more (defaults)."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and holds(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(holds, part, whole))
    return part == whole


@pytest.mark.parametrize("path", files("valid"), ids=lambda path: path.name)
def test_valid(path: Path) -> None:
    raw = path.read_bytes()
    written = read_and_write(kind_of(path), raw)
    match kind_of(path):
        case "topic":
            assert written == raw.rstrip(b"\n")
        case "frame" | "capture":
            expected = json.loads(path.with_suffix(".expected.json").read_text(encoding="utf-8"))
            assert json.loads(written) == expected
        case kind:
            # Acks and records are read once and never written again: what the reader does not know it may drop.
            drops = kind in {"ack", "shadow"}
            known = {k: v for k, v in json.loads(raw).items() if not drops or k != "invented_later"}
            assert holds(known, json.loads(written)), "unknown fields survive too"
            assert read_and_write(kind, written) == written, "a second time changes nothing"


@pytest.mark.parametrize("path", files("invalid"), ids=lambda path: path.name)
def test_invalid(path: Path) -> None:
    expected = path.with_suffix(".error").read_text(encoding="utf-8").rstrip("\n")

    with pytest.raises((ContractError, BundleRefused)) as caught:
        read_and_write(kind_of(path), path.read_bytes())
    assert str(caught.value) == expected
    assert "\n" not in expected, "one error, one line"


@pytest.mark.parametrize("folder", ["valid", "invalid"])
def test_every_kind_has_files_and_no_file_is_left_over(folder: str) -> None:
    assert {kind_of(path) for path in files(folder)} == set(_READERS)
    alone = {p.name for p in (HERE / folder).glob("*.error") if not list(p.parent.glob(f"{p.stem}.[bjt]*"))}
    assert not alone
