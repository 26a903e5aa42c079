"""Results kept by content, so that an interrupted or repeated build takes up where the last one was.

A key is the hash of everything that decides a result: the recipe's part of it, the data, the sources beside the
factory, our own compiler's sources, and the versions of the packages that take part. An entry is one file that begins with
the hash of its rest: a damaged one is dropped and made again. What was used longest ago goes first when room is short.

The folder is the user's own (mode 0700), as its entries hold trained models that are loaded again; one that others may
write to is not used.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sprat import __version__

_MAGIC: Final = b"sprat-cache/1\n"
_SUFFIX: Final = ".entry"
_PACKAGES: Final = (
    "tensorflow", "keras", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy", "protobuf", "tf2onnx",
    "ai-edge-litert", "litert-quantizer", "optuna", "pandas", "ml-dtypes", "h5py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What a job answered, and the files that it left, by their path inside its folder."""

    answer: dict[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Cache:
    """Entries under one folder, at most `max_bytes` of them; `notes` holds what a user should hear."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self.notes: list[str] = []

    def get(self, key: str) -> Entry | None:
        """Return an entry whose hash is right, else nothing."""
        path = self._path(key)
        if not self._is_ours():
            return None
        try:
            raw = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self.notes.append(f"cache: {path} cannot be read ({exc.strerror})")
            return None
        entry = _parse(raw, key)
        if entry is None:
            self.notes.append(f"cache: entry {path.name[:12]} was damaged; it was dropped and made again")
            path.unlink(missing_ok=True)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry where there is room for it; a disk that refuses is a note, not the end of a build."""
        if not self._is_ours():
            return
        raw = _dump(entry, key)
        if len(raw) > self._max_bytes:
            self.notes.append(f"cache: an entry of {len(raw)} bytes is over cache_mb and was not kept")
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(raw)
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
            self._make_room(path)
        except OSError as exc:
            self.notes.append(f"cache: {path.parent} cannot be written ({exc.strerror}); the next build starts over")

    def _is_ours(self) -> bool:
        """Tell whether nobody else may write here: whoever can would choose what a build runs."""
        try:
            found = self._folder.stat()
        except OSError:
            return True  # not there yet, or told when it is used
        if found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return True
        said = f"cache: {self._folder} is not used, others may write to it; chmod go-w, or set another cache_dir"
        self.notes += [] if said in self.notes else [said]
        return False

    def _make_room(self, newest: Path) -> None:
        """Drop the entries that were used longest ago until the rest is within the bound."""
        found = [(path, path.stat()) for path in self._folder.glob(f"*{_SUFFIX}") if path != newest]
        left = self._max_bytes - newest.stat().st_size
        for path, facts in sorted(found, key=lambda one: one[1].st_mtime_ns, reverse=True):
            left -= facts.st_size
            if left < 0:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


def key_of(kind: str, facts: Mapping[str, Any]) -> str:
    """Return the key of a result: `facts` are plain values that decide it, besides versions and our own sources."""
    document = {"kind": kind, "facts": facts, "made_by": made_by()}
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def made_by() -> dict[str, str]:
    """Return the versions that decide the bytes, and the digest of the compiler's own sources."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not here, so it takes no part
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return versions | {
        "sprat": __version__, "compiler": digest.hexdigest(), "python": platform.python_version(),
        "machine": platform.machine(),
    }  # fmt: skip


def digest_of(path: Path) -> str:
    """Return the SHA-256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dump(entry: Entry, key: str) -> bytes:
    head = {"key": key, "answer": entry.answer, "files": [[name, len(raw)] for name, raw in entry.files.items()]}
    body = b"\n".join((json.dumps(head).encode(), b"".join(entry.files.values())))
    return _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _parse(raw: bytes, key: str) -> Entry | None:
    """Read an entry; nothing where its hash, its key or a path in it is not what it must be."""
    start = len(_MAGIC) + 65
    body = raw[start:]
    if raw[:start] != _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n":
        return None
    line, _, rest = body.partition(b"\n")
    head = json.loads(line)
    if head["key"] != key or not all(_inside(name) for name, _ in head["files"]):
        return None
    files, place = {}, 0
    for name, size in head["files"]:
        files[name] = rest[place : place + size]
        place += size
    return Entry(head["answer"], files)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
