"""What is signed for this device: python-tuf verifies, we add durability, floors and trusted time.

python-tuf works on a scratch copy, since it never syncs what it writes: only what it verified and the floors allow is
written to `tuf/`, durably, and then the floors rise. Floors belong to the key ids of their role: a rotated key resets
them and the time mark, else TUF's recovery from a stolen key would be defeated. The pinned root is the only anchor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from sprat_device.board.clock import Clock, moment
from sprat_device.board.files import Files
from sprat_device.contract import release as releases
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import Channel, Digest, ModelName, digest, target_path
from sprat_device.contract.phases import Reason
from sprat_device.contract.release import ISSUED, Release
from sprat_device.install.fetch import Pace, paced
from sprat_device.install.floors import PairedRecord
from sprat_device.install.origins import FileMissing, Origin, TryLater
from sprat_device.install.trusted_time import FLOORS, TimeMark, TrustedClock, mark_of

_URL: Final = "sprat:/"
_PACE: Final = Pace(minimum_bytes_per_s=16, total_s=120)
_CONFIG: Final = UpdaterConfig(max_delegations=8, snapshot_max_length=256 * 1024, targets_max_length=512 * 1024)


@dataclass(frozen=True, slots=True)
class Signed:
    """A release that this device's channel lists, verified."""

    path: str
    length: int
    bundle: Digest
    release: Release

    @property
    def stored_as(self) -> str:
        """Return where a consistent repository keeps the bytes."""
        folder, _, name = self.path.rpartition("/")
        return f"{folder}/{self.bundle}.{name}"


class Trust:
    """The signed metadata that this device holds."""

    def __init__(self, state: Path, *, root: bytes, files: Files, clock: Clock) -> None:
        self._folder = state / "tuf"
        self._root = root
        self._files = files
        self._clock = clock
        self._floors = PairedRecord(files, state / FLOORS)
        self._time = TrustedClock(state, files=files, clock=clock)

    def trusted_us(self) -> int:
        """Return what time it is at least."""
        return self._time.now_us()

    def listed(self, origin: Origin, channel: Channel, model: ModelName) -> list[Signed]:
        """Refresh from an origin and return every release of a model that the channel lists, or raise."""
        # Any path inside the delegation makes python-tuf load the channel's role.
        anywhere = target_path(channel, model, 0, "any")
        with self._refreshed(origin, anywhere) as tuf:
            role = tuf.get(channel)
            if not isinstance(role, Targets):
                raise BundleRefused(Reason.NOT_LISTED, f"the signed repository has no channel {channel!r}")
            entries = {path: entry for path, entry in role.targets.items() if path.startswith(f"{channel}/{model}/")}
            return [_signed(channel, path, entry) for path, entry in entries.items()]

    @contextmanager
    def _refreshed(self, origin: Origin, path: str) -> Iterator[Mapping[str, Any]]:
        """Verify the origin's metadata down to the role of `path`; what holds is on the disk before this yields."""
        floors = self._floors.load()
        with tempfile.TemporaryDirectory(prefix="sprat-tuf-") as scratch, _mapped():
            self._copy_out(Path(scratch))
            fetcher = _Fetcher(origin, self._clock)
            updater = Updater(scratch, _URL, fetcher=fetcher, config=_CONFIG, bootstrap=self._root)
            trusted = updater._trusted_set  # the one private attribute: there is no public way to give the time
            # By the timestamp python-tuf has followed the roots: only now it is known whether the mark's key still
            # counts. Whatever it has judged before that by the wall clock is judged again from here on.
            fetcher.before_timestamp = lambda: self._set_time(trusted, floors)
            updater.refresh()
            updater.get_targetinfo(path)
            raised = self._raised(floors, trusted)
            self._copy_in(Path(scratch))
            if raised != floors:
                self._floors.store(raised)
            yield trusted

    def _set_time(self, trusted: Any, floors: Mapping[str, Any]) -> None:
        mark = mark_of(floors)
        keyids = tuple(sorted(trusted.root.roles[Timestamp.type].keyids))
        trusted_us = self._time.after(mark if mark and mark.keyids == keyids else None)
        trusted.reference_time = moment(trusted_us)

    def _raised(self, floors: Mapping[str, Any], trusted: Any) -> dict[str, Any]:
        """Return the floors that the verified metadata raises, or raise BundleRefused where it is below them."""
        held = floors.get("roles", {})
        roles = dict(held)
        for role, keyids, version in _versions(trusted):
            floor = Fields(held[role], f"floor of {role}") if role in held else None
            # The root's own chain cannot be forked, so its floor outlives its keys.
            kept = floor is not None and (role == Root.type or floor.items("keyids", text) == tuple(keyids))
            least = floor.integer("version") if floor is not None and kept else 0
            if version < least:
                raise BundleRefused(
                    Reason.METADATA_ROLLBACK, f"{role} has version {version}, this device has seen {least}"
                )
            roles[role] = {"version": version, "keyids": keyids}
        return {"roles": roles, "mark": self._mark(trusted, mark_of(floors)).dump()}

    def _mark(self, trusted: Any, before: TimeMark | None) -> TimeMark:
        timestamp: Timestamp = trusted.timestamp
        issued_us = _issued_us(timestamp)
        keyids = tuple(sorted(trusted.root.roles[Timestamp.type].keyids))
        if before is not None and before.keyids == keyids and before.issued_us == issued_us:
            return before  # no news: the older mark has the longer uptime behind it
        return TimeMark(issued_us, _us(timestamp.expires), self._clock.monotonic_us(), keyids)

    def _copy_out(self, scratch: Path) -> None:
        (scratch / "root_history").mkdir()
        for folder in (self._folder, self._folder / "root_history"):
            for path in self._files.list(folder) if self._files.exists(folder) else []:
                if path.suffix == ".json":
                    (scratch / path.relative_to(self._folder)).write_bytes(self._files.read(path))

    def _copy_in(self, scratch: Path) -> None:
        self._files.make_folder(self._folder / "root_history")
        verified = [*sorted((scratch / "root_history").glob("*.json")), *sorted(scratch.glob("*.json"))]
        for path in verified:
            kept = self._folder / path.relative_to(scratch)
            data = path.read_bytes()
            if path.is_symlink() or (self._files.exists(kept) and self._files.read(kept) == data):
                continue
            self._files.write_atomic(kept, data)


class _Fetcher(FetcherInterface):
    """python-tuf's way to an origin."""

    def __init__(self, origin: Origin, clock: Clock) -> None:
        self._origin = origin
        self._clock = clock
        self.before_timestamp: Callable[[], None] = lambda: None

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(_URL)
        if name == f"{Timestamp.type}.json":
            self.before_timestamp()
        try:
            chunks = paced(self._origin.metadata(name), self._clock, _PACE)
            return chain((next(chunks, b""),), chunks)  # a clear no must come before the first chunk
        except FileMissing as exc:
            raise DownloadHTTPError(str(exc), exc.status) from exc


def _versions(trusted: Any) -> Iterator[tuple[str, list[str], int]]:
    """Yield (role, its key ids, its verified version) for every role that was loaded."""
    for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type):
        yield role, sorted(trusted.root.roles[role].keyids), trusted[role].version
    delegations = trusted.targets.delegations
    for name, role in (delegations.roles or {}).items() if delegations else ():
        if trusted.get(name) is not None:
            yield name, sorted(role.keyids), trusted[name].version


def _signed(channel: Channel, path: str, entry: TargetFile) -> Signed:
    try:
        release = releases.parse(entry.custom)
        bundle = digest(entry.hashes.get("sha256"))
    except ContractError as exc:
        raise BundleRefused(Reason.UNKNOWN_SCHEMA, f"{path[:200]}: {exc}") from exc
    if path != target_path(channel, release.model, release.release_seq, release.target):
        raise BundleRefused(Reason.MANIFEST_MISMATCH, f"{path[:200]!r} is not what its signed entry says")
    return Signed(path, entry.length, bundle, release)


def _issued_us(timestamp: Timestamp) -> int:
    try:
        return _us(datetime.fromisoformat(str(timestamp.unrecognized_fields[ISSUED])))
    except (KeyError, ValueError, TypeError) as exc:
        raise BundleRefused(Reason.SIGNATURE, "the signed timestamp does not say when it was issued") from exc


def _us(when: datetime) -> int:
    return int(when.astimezone(UTC).timestamp()) * 1_000_000


_REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (
    (ExpiredMetadataError, Reason.METADATA_EXPIRED),
    (BadVersionNumberError, Reason.METADATA_ROLLBACK),
    (LengthOrHashMismatchError, Reason.HASH_MISMATCH),
    (DownloadLengthMismatchError, Reason.LENGTH_MISMATCH),
    (UnsignedMetadataError, Reason.SIGNATURE),
    (RepositoryError, Reason.SIGNATURE),
)


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn python-tuf's errors into refusals, and its transfer errors into later tries."""
    try:
        yield
    except (RepositoryError, DownloadLengthMismatchError) as exc:
        reason = next(reason for kind, reason in _REASONS if isinstance(exc, kind))
        raise BundleRefused(reason, f"signed metadata: {exc}") from exc
    except DownloadError as exc:
        cause = exc.__cause__
        raise (cause if isinstance(cause, TryLater) else TryLater(f"signed metadata: {exc}")) from exc
