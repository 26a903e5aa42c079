"""Writes the binary frames of this folder: `python tests/contract/make_frames.py`. What tests read are the committed files."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from sprat_device.contract import frame, records, summary
from sprat_device.contract.ids import Digest, ModelName
from sprat_device.contract.phases import ClockState, Lane
from sprat_device.contract.sketch import LogHistogram

HERE = Path(__file__).parent
ORIGIN = records.Origin(ModelName("digits"), 3, Digest("ab" * 32))
HEADER = frame.FrameHeader(
    lane=Lane.PREDICTIONS, epoch=0x0123456789ABCDEF, seq=42, count=3, boot_id=bytes(range(16)),
    mono_first_us=1_000_000, mono_last_us=1_040_000, wall_first_us=1_790_000_000_000_000,
    wall_last_us=1_790_000_000_040_000, clock=ClockState.SYNCHRONISED,
    ledger=frame.Ledger(produced=129, acked=100, evicted=20, damaged=6),
)  # fmt: skip


def main() -> None:
    scores = _predictions([0.1, 0.7, 0.2], scores=True)
    _valid("predictions-scores", frame.seal(HEADER, scores))
    _valid("predictions-values", frame.seal(HEADER, _predictions([19.25], scores=False)))
    event = records.Row(
        "input-range", 1_020_000, 1_790_000_000_020_000, {"input": "image", "value": 300}, "digits", "ab" * 32
    )
    _valid("event", frame.seal(replace(HEADER, lane=Lane.EVENTS, count=1), records.encode_rows([event])))
    told = summary.Summary(
        60_000_000, 3, {"input-range": 1}, {7: 3}, LogHistogram({49: 3}), LogHistogram({-1: 3}), {"mean": (0, 2, 1)}
    )
    row = records.Row(summary.CODE, 1_030_000, 1_790_000_000_030_000, told.detail(), "digits", "ab" * 32)
    unset = replace(
        HEADER, lane=Lane.SUMMARIES, count=1, clock=ClockState.UNSYNCHRONISED, wall_first_us=0, wall_last_us=40_000
    )
    _valid("summary-unsynchronised", frame.seal(unset, records.encode_rows([row])))
    _valid("longer-header", _with_longer_header(frame.seal(HEADER, scores)))

    good = frame.seal(HEADER, scores)
    _invalid("empty", b"")
    _invalid("short-header", good[:50])
    _invalid("magic", b"JUNK" + good[4:])
    _invalid("major-2", good[:4] + b"\x02" + good[5:])
    _invalid("lane", good[:6] + b"\x09" + good[7:])
    _invalid("torn", good[:-7])
    _invalid("flipped-bit", good[:-1] + bytes([good[-1] ^ 1]))
    _invalid("flipped-header-bit", good[:16] + bytes([good[16] ^ 1]) + good[17:])
    _invalid("not-zstd", frame.seal(HEADER, b"plain text"))
    _invalid("count", frame.seal(replace(HEADER, count=4), scores))
    bomb = records.zstandard.ZstdCompressor().compress(bytes(records.MAX_PLAIN_BODY + 1))
    _invalid("bomb", frame.seal(HEADER, bomb))
    other = records._compress({"schema": "sprat.records/2", "rows": []})
    _invalid("other-schema", frame.seal(HEADER, other))
    ragged = {"index": ["<i4", [3], bytes(12)], "mono_us": ["<i4", [3], bytes(12)], "label": ["<i2", [2], bytes(4)],
              "latency_us": ["<u4", [3], bytes(12)], "outputs": ["<f2", [3, 1], bytes(6)]}  # fmt: skip
    _invalid("ragged-columns", frame.seal(HEADER, _columns(ragged)))
    _invalid("column-missing", frame.seal(HEADER, _columns({k: v for k, v in ragged.items() if k != "label"})))
    _invalid("column-size", frame.seal(HEADER, _columns({**ragged, "label": ["<i2", [3], bytes(5)]})))
    whole = {**ragged, "label": ["<i2", [3], bytes(6)]}
    _invalid("label-float", frame.seal(HEADER, _columns({**whole, "label": ["<f2", [3], bytes(6)]})))
    _invalid("label-below", frame.seal(HEADER, _columns({**whole, "label": ["<i2", [3], b"\xfe\xff" * 3]})))
    _invalid("column-dtype", frame.seal(HEADER, _columns({**ragged, "label": ["|O8", [3], bytes(24)]})))


def _predictions(outputs: list[float], *, scores: bool) -> bytes:
    made = [
        records.Prediction(
            index=100 + i, mono_us=1_000_000 + 20_000 * i, wall_us=0, label=1 if scores else records.NO_LABEL,
            outputs=np.array(outputs, np.float32) + np.float32(i if not scores else 0), latency_us=90 + i,
        )
        for i in range(3)
    ]  # fmt: skip
    return records.encode_predictions(ORIGIN, made, scores=scores)


def _columns(columns: dict[str, object]) -> bytes:
    return records._compress(
        {"schema": records.SCHEMA, "model": "digits", "release_seq": 3, "bundle": "ab" * 32, "columns": columns}
    )


def _with_longer_header(raw: bytes) -> bytes:
    """A later minor version: its header has eight more bytes, which this version skips."""
    size = frame.HEADER_SIZE
    head = bytearray(raw[:size])
    head[5] = 1  # minor
    head[8:10] = (size + 8).to_bytes(2, "little")
    head[-4:] = bytes(4)
    tail = b"NEWFIELD" + raw[size:]
    head[-4:] = zlib.crc32(tail, zlib.crc32(bytes(head))).to_bytes(4, "little")
    return bytes(head) + tail


def _valid(name: str, raw: bytes) -> None:
    whole = frame.open_frame(raw)
    found = records.decode(whole.body, count=whole.header.count)
    plain: dict[str, object] = {"header": {**asdict(whole.header), "boot_id": whole.header.boot_id.hex()}}
    if isinstance(found, records.PredictionColumns):
        plain["columns"] = {
            name: getattr(found, name).tolist() for name in ("index", "mono_us", "label", "latency_us", "outputs")
        }
        plain["origin"] = found.origin._asdict()
    else:
        plain["rows"] = [asdict(row) for row in found]
    path = HERE / "valid" / f"frame.{name}.bin"
    path.write_bytes(raw)
    path.with_suffix(".expected.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _invalid(name: str, raw: bytes) -> None:
    (HERE / "invalid" / f"frame.{name}.bin").write_bytes(raw)


if __name__ == "__main__":
    main()
