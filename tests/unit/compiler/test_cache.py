import os

import pytest

from sprat.compiler.workers import cache as caches
from sprat.compiler.workers.cache import Cache, Entry, key_of

KEY, OTHER, THIRD = (key_of("train", {"seed": seed}) for seed in range(3))
ENTRY = Entry({"size": 3, "ops": ["a"]}, {"model/weights.bin": b"\x00\n\xff" * 100, "empty": b""})


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", max_bytes=100_000)


def _file(tmp_path, key=KEY):
    return tmp_path / "cache" / f"{key}.entry"


def test_an_entry_comes_back_whole(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, ENTRY)
    assert cache.get(KEY) == ENTRY
    assert cache.get(OTHER) is None
    assert cache.notes == []


def test_the_folder_is_the_users_own(cache, tmp_path):
    cache.put(KEY, ENTRY)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_a_folder_that_others_may_write_to_is_not_used(cache, tmp_path):
    cache.put(KEY, ENTRY)
    (tmp_path / "cache").chmod(0o777)
    assert cache.get(KEY) is None
    cache.put(OTHER, ENTRY)
    assert cache.notes == [
        f"cache: {tmp_path / 'cache'} is not used, others may write to it; chmod go-w, or set another cache_dir"
    ]
    (tmp_path / "cache").chmod(0o700)
    assert (cache.get(KEY), cache.get(OTHER)) == (ENTRY, None)


@pytest.mark.parametrize("place", [0, 20, 90, 150, -1])
def test_a_damaged_entry_is_dropped_and_told(cache, tmp_path, place):
    cache.put(KEY, ENTRY)
    raw = bytearray(_file(tmp_path).read_bytes())
    raw[place] ^= 1
    _file(tmp_path).write_bytes(raw)
    assert cache.get(KEY) is None
    assert not _file(tmp_path).exists()
    assert "was damaged" in cache.notes[0]


def test_an_entry_under_another_name_does_not_count(cache, tmp_path):
    cache.put(KEY, ENTRY)
    _file(tmp_path).rename(_file(tmp_path, OTHER))
    assert cache.get(OTHER) is None


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_path_out_of_the_folder_is_no_entry(cache, name):
    cache.put(KEY, Entry({}, {name: b"x"}))
    assert cache.get(KEY) is None


def test_what_was_used_longest_ago_goes_first(cache, tmp_path):
    large = Entry({}, {"a": bytes(40_000)})
    cache.put(KEY, large)
    cache.put(OTHER, large)
    os.utime(_file(tmp_path), (1, 1))
    os.utime(_file(tmp_path, OTHER), (2, 2))
    assert cache.get(KEY) == large  # used again: the other one is now the older
    cache.put(THIRD, large)
    assert [cache.get(key) is not None for key in (KEY, OTHER, THIRD)] == [True, False, True]
    cache.put(OTHER, Entry({}, {"a": bytes(200_000)}))
    assert cache.get(OTHER) is None
    assert "over cache_mb" in cache.notes[-1]
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 100_000


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path):
    (tmp_path / "cache").write_text("a file")
    cache = Cache(tmp_path / "cache", max_bytes=1000)
    cache.put(KEY, Entry({}))
    assert "cannot be written" in cache.notes[0]


def test_facts_kind_and_versions_make_the_key(monkeypatch):
    assert key_of("train", {"seed": 0}) == KEY
    assert len({KEY, OTHER, key_of("lower", {"seed": 0})}) == 3
    monkeypatch.setattr(caches, "made_by", lambda: {"keras": "4"})
    assert key_of("train", {"seed": 0}) != KEY
