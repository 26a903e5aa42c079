"""A repository on disk: `metadata/` (every version, and `timestamp.json`) and `targets/`, as they are served.

Rules: nothing is accepted that a device would refuse; a number, once given, always means the same bytes; files stand
before the metadata that lists them, and the timestamp is written last, so a reader sees the old state or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.repository import Repository as TufRepository

from sprat.errors import MachineLacks, Refused, WrongUse
from sprat.publish.repository.entries import Listed, listed_in, read_role
from sprat_device.contract import bundle as bundles
from sprat_device.contract.ids import Channel
from sprat_device.contract.release import ISSUED, require_agreement

ONLINE_EXPIRY: Final = {Snapshot.type: timedelta(days=90), Timestamp.type: timedelta(days=30)}
RENEW_BEFORE: Final = timedelta(days=30)
"""A snapshot that expires sooner than this is signed anew with the daily timestamp."""


class Repository(TufRepository):
    """A served repository; `online` signs its snapshot and timestamp, and nothing else can be signed here."""

    TIMESTAMP: ClassVar[str] = "timestamp.json"

    def __init__(self, folder: Path, online: Signer, *, now: datetime | None = None) -> None:
        self.folder = folder
        self._online = online
        self._fixed_now = now

    @classmethod
    def found(cls, folder: Path, metadata: Mapping[str, bytes], online: Signer, *, now: datetime | None = None) -> Self:
        """Begin with metadata that a publisher signed (`initial_metadata`), once it holds together."""
        repository = cls(folder, online, now=now)
        if (folder / "metadata" / cls.TIMESTAMP).exists():
            raise WrongUse(f"{folder} holds a repository already")
        _require_whole(metadata, online)
        with repository._locked():
            for name, data in metadata.items():
                _write(folder / "metadata" / name, data)
            repository.publish()
        return repository

    @property
    def exists(self) -> bool:
        """Tell whether it was founded."""
        return (self.folder / "metadata" / self.TIMESTAMP).exists()

    def channels(self) -> tuple[Channel, ...]:
        """Return the delegated channels in their order."""
        delegations = self.targets().delegations
        return tuple(Channel(name) for name in (delegations.roles if delegations and delegations.roles else {}))

    def root_bytes(self) -> bytes:
        """Return the newest root, which enrolling devices pin."""
        return self._newest(Root.type)[1]

    def role_bytes(self, role: str) -> bytes:
        """Return the newest metadata of a role."""
        return self._newest(role)[1]

    def listing(self) -> list[Listed]:
        """Return every release that a channel lists."""
        return [one for channel in self.channels() for one in listed_in(channel, self.targets(channel))]

    def next_release_seq(self, model: str) -> int:
        """Return the number that the next release of a model gets."""
        return self._last_number(model) + 1

    def accept(self, channel: str, role: bytes, files: Mapping[str, Path]) -> list[Listed]:
        """Verify a signed channel role, take in the bundles that it adds, publish it, and return what is new."""
        with self._locked():
            metadata = self._verified(channel, role)
            wanted = listed_in(channel, metadata.signed)
            before = {one.path: one for one in listed_in(channel, self.targets(channel))}
            for one in wanted:
                if one.path in before and before[one.path] != one:
                    raise Refused("immutable", f"{one.path} is released already and may not change; take a new number")
            new = [one for one in wanted if one.path not in before]
            extra = files.keys() - {one.path for one in new}
            if extra:
                raise WrongUse(f"{min(extra)[:200]!r} was sent, but the role does not newly list it")
            sources = [(one, self._source(one, files)) for one in new]
            for one, source in sources:
                _place(source, self.folder / "targets" / one.stored_as)
            _write(self.folder / "metadata" / f"{metadata.signed.version}.{channel}.json", role)
            self._record_series(new)
            self.publish()
            return new

    def publish(self) -> None:
        """Bring snapshot and timestamp up to the roles on disk; repeating it changes nothing."""
        self.do_snapshot()
        self.do_timestamp()

    def refresh_timestamp(self) -> None:
        """Sign the timestamp anew (daily), and the snapshot where it ends soon."""
        with self._locked():
            self.do_snapshot(force=self.snapshot().is_expired(self._now() + RENEW_BEFORE))
            self.do_timestamp(force=True)

    # What python-tuf's Repository asks for.

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """Return version, length and hash of targets and each channel."""
        return {f"{role}.json": self._meta(role) for role in (Targets.type, *self.channels())}

    @property
    def snapshot_info(self) -> MetaFile:
        """Return version, length and hash of the snapshot."""
        return self._meta(Snapshot.type)

    def open(self, role: str) -> Metadata[Any]:
        """Load the newest version of a role, or begin an online one."""
        try:
            return Metadata.from_bytes(self._newest(role)[1])
        except FileNotFoundError as exc:
            if role == Snapshot.type:
                return Metadata(Snapshot(meta={}))
            if role == Timestamp.type:
                return Metadata(Timestamp(snapshot_meta=self.snapshot_info))
            raise MachineLacks(f"{self.folder} holds no metadata of {role!r}; found it with: sprat keys init") from exc

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Sign and write the next version of an online role."""
        if role not in ONLINE_EXPIRY:
            raise Refused("offline-role", f"{role!r} is signed by offline keys, not here")
        md.signed.version += self._has(role)
        md.signed.expires = self._now() + ONLINE_EXPIRY[role]
        if role == Timestamp.type:
            md.signed.unrecognized_fields[ISSUED] = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        md.sign(self._online)
        name = self.TIMESTAMP if role == Timestamp.type else f"{md.signed.version}.{role}.json"
        _write(self.folder / "metadata" / name, md.to_bytes())

    def _verified(self, channel: str, raw: bytes) -> Metadata[Targets]:
        if channel not in self.channels():
            raise Refused("no-such-channel", f"{channel!r}: this repository has {', '.join(self.channels())}")
        metadata = read_role(raw, channel)
        try:
            self.targets().verify_delegate(channel, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError as exc:
            raise Refused("signature", f"channel {channel!r}: {exc}") from exc
        found, expected = metadata.signed.version, self.targets(channel).version + 1
        if found != expected:
            raise Refused("stale", f"channel {channel!r}: found version {found}, expected {expected}; prepare it again")
        if metadata.signed.is_expired(self._now()):
            raise Refused("metadata-expired", f"channel {channel!r}: expired {metadata.signed.expires:%Y-%m-%d}")
        return metadata

    def _source(self, one: Listed, files: Mapping[str, Path]) -> Path:
        """Return the file that holds a new entry's bytes, checked against all that is signed of it."""
        twins = [other for other in self.listing() if other.key == one.key]
        model, number, _ = one.key
        if twins and twins[0].bundle != one.bundle:
            raise Refused("number-taken", f"release {number} of {model!r} has other bytes in {twins[0].channel!r}")
        if not twins and number <= self._last_number(model):
            raise Refused(
                "number-taken", f"release {number} of {model!r} is past; the next is {self.next_release_seq(model)}"
            )
        source = files.get(one.path) or self._known(one)
        if source is None:
            raise WrongUse(f"{one.path}: neither sent nor known here; send the bundle too")
        with source.open("rb") as file:
            size, found = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
            if (size, found) != (one.length, one.bundle):
                raise Refused(
                    "hash-mismatch", f"{one.path}: {size} bytes with SHA-256 {found[:12]}…, signed are others"
                )
            file.seek(0)
            with bundles.read(file) as bundle:
                require_agreement(one.release, bundle.manifest)
        return source

    def _known(self, one: Listed) -> Path | None:
        same = (self.folder / "targets" / other.stored_as for other in self.listing() if other.bundle == one.bundle)
        return next((path for path in same if path.exists()), None)

    def _series(self) -> dict[str, int]:
        """Return the highest number that was ever given to each model, withdrawn ones too."""
        path = self.folder / "series.json"
        series: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
        return series

    def _last_number(self, model: str) -> int:
        # The listing too: a power cut may fall between a role and the series.
        listed = (one.release.release_seq for one in self.listing() if one.release.model == model)
        return max(self._series().get(model, 0), *listed, 0)

    def _record_series(self, new: list[Listed]) -> None:
        series = self._series()
        for one in new:
            series[one.release.model] = max(series.get(one.release.model, 0), one.release.release_seq)
        _write(self.folder / "series.json", json.dumps(series).encode())

    def _has(self, role: str) -> bool:
        try:
            self._newest(role)
        except FileNotFoundError:
            return False
        return True

    def _newest(self, role: str) -> tuple[int, bytes]:
        folder = self.folder / "metadata"
        if role == Timestamp.type:
            return 0, (folder / self.TIMESTAMP).read_bytes()
        pattern = re.compile(rf"(\d+)\.{re.escape(role)}\.json")
        versions = [int(match[1]) for path in folder.glob("*.json") if (match := pattern.fullmatch(path.name))]
        if not versions:
            raise FileNotFoundError(role)
        return max(versions), (folder / f"{max(versions)}.{role}.json").read_bytes()

    def _meta(self, role: str) -> MetaFile:
        version, data = self._newest(role)
        return MetaFile.from_data(version, data, ["sha256"])

    def _now(self) -> datetime:
        return (self._fixed_now or datetime.now(UTC)).replace(microsecond=0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _require_whole(metadata: Mapping[str, bytes], online: Signer) -> None:
    """Raise Refused unless root, targets and channels verify down from the root, and root names this online key."""
    try:
        root = Metadata[Root].from_bytes(metadata["1.root.json"])
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
        targets = Metadata[Targets].from_bytes(metadata["1.targets.json"])
        root.signed.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
        channels = targets.signed.delegations.roles if targets.signed.delegations else None
        for channel in channels or {}:
            role = Metadata[Targets].from_bytes(metadata[f"1.{channel}.json"])
            targets.signed.verify_delegate(channel, role.signed_bytes, role.signatures)
    except (RepositoryError, DeserializationError, ValueError) as exc:
        raise Refused("signature", f"the first metadata does not hold together: {exc}") from exc
    except KeyError as exc:
        raise WrongUse(f"the first metadata lacks {exc}; make it with: sprat keys init") from exc
    expected = {f"1.{name}.json" for name in ("root", "targets", *(channels or {}))}
    if metadata.keys() != expected:
        raise WrongUse(f"the first metadata must be {', '.join(sorted(expected))} and nothing else")
    for role_name in (Snapshot.type, Timestamp.type):
        if online.public_key.keyid not in root.signed.roles[role_name].keyids:
            raise Refused("online-key", f"root does not name this repository's online key for {role_name}")


def _place(source: Path, target: Path) -> None:
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    with source.open("rb") as read, partial.open("wb") as write:
        shutil.copyfileobj(read, write)
        write.flush()
        os.fsync(write.fileno())
    partial.replace(target)
    _sync_folder(target.parent)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
