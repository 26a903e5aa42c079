"""One signed entry of a channel role: the release that it lists, and the rules that every entry keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError

from sprat.errors import Refused, WrongUse
from sprat_device.contract import bundle as bundles
from sprat_device.contract import release as releases
from sprat_device.contract.errors import SpratError
from sprat_device.contract.ids import Channel, Digest, ModelName, digest, target_path
from sprat_device.contract.ids import channel as parse_channel
from sprat_device.contract.manifest import Manifest
from sprat_device.contract.release import Release

MAX_ENTRIES: Final = 40
"""Entries per channel role: each costs every device of the channel about 290 bytes."""
MAX_MEASURED: Final = 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """A release for one target as a channel lists it."""

    channel: Channel
    path: str
    bundle: Digest
    length: int
    release: Release

    @property
    def key(self) -> tuple[ModelName, int, str]:
        """Return what is immutable: (model, release_seq, target), over all channels."""
        return self.release.model, self.release.release_seq, self.release.target

    @property
    def stored_as(self) -> str:
        """Return where a consistent repository keeps the bytes."""
        folder, _, name = self.path.rpartition("/")
        return f"{folder}/{self.bundle}.{name}"


def describe_release(
    manifest: Manifest, measured: Mapping[str, Any], *, release_seq: int, bundle_size: int, rollback_of: int = 0
) -> Release:
    """Say what is signed of a bundle; sizes that were not measured fall to what is certain."""
    return Release(
        model=manifest.model,
        target=manifest.target,
        release_seq=release_seq,
        input_sig=manifest.input_sig,
        runtimes=dict(manifest.runtimes),
        arch=tuple(str(name) for name in measured.get("arch", ())),
        ram_peak_kib=int(measured.get("ram_peak_kib", 0)),
        flash_kib=int(measured.get("flash_kib", 0)) or -(-bundle_size // 1024),
        rollback_of=rollback_of,
        cpu_features=tuple(str(name) for name in measured.get("cpu_features", ())),
        measured=_signable(measured.get("signed", {})),
    )


def entry_for(bundle: Path, measured: Mapping[str, Any], *, channel: Channel, release_seq: int) -> TargetFile:
    """Return the entry that lists a bundle file."""
    with bundle.open("rb") as file, bundles.read(file) as opened:
        manifest = opened.manifest
    size = bundle.stat().st_size
    release = describe_release(manifest, measured, release_seq=release_seq, bundle_size=size)
    path = target_path(channel, release.model, release_seq, release.target)
    entry = TargetFile.from_file(path, str(bundle), ["sha256"])
    entry.unrecognized_fields["custom"] = release.dump()
    return entry


def moved(listed: Listed, channel: Channel, *, release_seq: int = 0, rollback_of: int = 0) -> TargetFile:
    """Return an entry for the same bytes in another channel, or under a new number that takes one back."""
    release = listed.release
    if release_seq:
        release = replace(release, release_seq=release_seq, rollback_of=rollback_of)
    path = target_path(channel, release.model, release.release_seq, release.target)
    return TargetFile(listed.length, {"sha256": listed.bundle}, path, {"custom": release.dump()})


def read_role(raw: bytes, channel: str) -> Metadata[Targets]:
    """Read a channel role's bytes, unverified, or raise WrongUse."""
    try:
        metadata = Metadata[Targets].from_bytes(raw)
    except (DeserializationError, RepositoryError) as exc:
        raise WrongUse(f"metadata of channel {channel!r} does not parse ({exc}); sign it again") from exc
    if not isinstance(metadata.signed, Targets):
        raise WrongUse(f"metadata of channel {channel!r}: found {metadata.signed.type}, expected targets")
    return metadata


def listed_in(channel: str, role: Targets) -> list[Listed]:
    """Read every entry of a role, or raise Refused for one that breaks the rules."""
    if role.delegations is not None:
        raise Refused("not-a-channel", f"channel {channel!r} delegates further, which no channel may")
    if len(role.targets) > MAX_ENTRIES:
        raise Refused("too-many-entries", f"channel {channel!r} lists {len(role.targets)}, at most {MAX_ENTRIES}")
    return [_listed(parse_channel(channel), path, entry) for path, entry in role.targets.items()]


def _listed(channel: Channel, path: str, entry: TargetFile) -> Listed:
    try:
        release = releases.parse(entry.custom)
        bundle = digest(entry.hashes.get("sha256"))
    except SpratError as exc:
        raise Refused("bad-entry", f"{path[:200]}: {exc}") from exc
    expected = target_path(channel, release.model, release.release_seq, release.target)
    # The path is rebuilt from names of the closed alphabet: no path trick can equal it.
    if path != expected:
        raise Refused("bad-path", f"found {path[:200]!r}, its signed entry means {expected!r}")
    return Listed(channel, path, bundle, entry.length, release)


def _signable(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping that canonical JSON can hold (it knows no fractions), or nothing if it is too long to sign."""
    plain = {str(name): _whole(entry) for name, entry in value.items()}
    return plain if len(json.dumps(plain)) <= MAX_MEASURED else {}


def _whole(value: object) -> object:
    match value:
        case bool() | int() | str():
            return value
        case float():
            return f"{value:.6g}"
        case Mapping():
            return {str(name): _whole(entry) for name, entry in value.items()}
        case list() | tuple():
            return [_whole(entry) for entry in value]
        case _:
            return str(value)
