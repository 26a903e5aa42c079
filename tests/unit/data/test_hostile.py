"""Damaged and hostile files: whatever the bytes are, a reader gives a table or one error of ours."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sprat.data import snapshot
from sprat.data.table import read_table
from sprat.errors import RecipeError, WrongUse

TABLE = {"a": np.arange(20.0), "b": np.array(["x", "yy"] * 10), "c": np.arange(40, dtype=np.int16).reshape(20, 2)}
SLOW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DAMAGE = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8)


def _npz():
    out = io.BytesIO()
    np.savez_compressed(out, **TABLE)
    return out.getvalue()


def _parquet():
    out = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"a": TABLE["a"], "b": TABLE["b"].tolist(), "c": TABLE["c"].tolist()}), out
    )
    return out.getvalue()


def _png():
    out = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(out, "PNG")
    return out.getvalue()


WHOLE = {"x.npz": _npz(), "x.parquet": _parquet(), "x.csv": b"a,b\n1,2\n3,x\n", "one/x.png": _png()}


@pytest.mark.parametrize("name", WHOLE)
@SLOW
@given(damage=DAMAGE, cut=st.integers(0, 5000))
def test_damaged_bytes_are_a_table_or_a_recipe_error(tmp_path, name, damage, cut):
    raw = bytearray(WHOLE[name])
    for place, value in damage:
        raw[place % len(raw)] = value
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw[: max(1, cut)])
    try:
        found = read_table(tmp_path if "/" in name else path)
    except RecipeError as exc:
        said = str(exc)
    else:
        said = ""
        assert all(column.dtype.kind in "biufSU" for column in found.values())
    assert "\n" not in said


@SLOW
@given(damage=DAMAGE)
def test_a_damaged_snapshot_loads_as_it_was_or_not_at_all(tmp_path, damage):
    made = snapshot.add(tmp_path, TABLE, name="x", source="", added_at="2026")
    for path in (tmp_path / "columns" / f"{made.parts['a']}.npy", tmp_path / "snapshots" / f"{made.sha256}.json"):
        whole = path.read_bytes()
        raw = bytearray(whole)
        for place, value in damage:
            raw[place % len(raw)] = value
        path.write_bytes(raw)
        try:
            found = snapshot.load(tmp_path, snapshot.find(tmp_path, made.sha256))
        except WrongUse:
            pass
        else:
            assert snapshot.content_digest(found) == made.sha256
        path.write_bytes(whole)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "ab":
            archive.writestr(f"{name}.npy", b"\0" * 1000)
    raw = bytearray((tmp_path / "x.npz").read_bytes())
    for place in (raw.index(b"PK\x01\x02"), raw.rindex(b"PK\x01\x02")):
        raw[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)  # the size that it says it unpacks to
    (tmp_path / "x.npz").write_bytes(raw)
    with pytest.raises(RecipeError, match="2 arrays of 8589934560 bytes, at most"):
        read_table(tmp_path / "x.npz")


def test_a_png_that_unpacks_to_far_more_than_it_shows_is_refused(tmp_path):
    (tmp_path / "one").mkdir()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    raw = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (tmp_path / "one" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + raw)
    with pytest.raises(RecipeError, match=r"one/x\.png is not a readable image"):
        read_table(tmp_path)


def test_a_snapshot_that_points_out_of_its_folder_is_refused(tmp_path):
    made = snapshot.add(tmp_path, TABLE, name="x", source="", added_at="2026")
    path = tmp_path / "snapshots" / f"{made.sha256}.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"parts": {"a": "../" + made.parts["a"]}}))
    with pytest.raises(WrongUse, match="a field is of another kind"):
        snapshot.find(tmp_path, "x")
