"""The publisher's side: sign a channel role that lists, moves or drops a release; needs that channel's key only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, TargetFile, Targets

from sprat.errors import Refused, WrongUse
from sprat.publish.repository.entries import MAX_ENTRIES, Listed, entry_for, listed_in, moved, read_role
from sprat.publish.repository.founding import CHANNEL_EXPIRY
from sprat_device.contract.ids import Channel, ModelName


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed channel role, and the files that the new entries need."""

    channel: Channel
    model: ModelName
    role: bytes
    files: Mapping[str, Path]
    """Target path -> bundle file."""
    release_seq: int


def prepare_release(
    role_now: bytes,
    bundles: Sequence[tuple[Path, Mapping[str, Any]]],
    *,
    channel: Channel,
    release_seq: int,
    signers: Sequence[Signer],
    now: datetime,
) -> Prepared:
    """List bundles of one model (each with what was measured of it) under one new number."""
    entries = {
        bundle: entry_for(bundle, measured, channel=channel, release_seq=release_seq) for bundle, measured in bundles
    }
    files = {entry.path: bundle for bundle, entry in entries.items()}
    if len(files) != len(bundles):
        raise WrongUse("two of the bundles are for the same model and target; release them one after the other")
    models = {ModelName(path.split("/")[1]) for path in files}
    if len(models) != 1:
        raise WrongUse("the bundles are of several models, and each model has its own numbers; release one at a time")
    role = _add(role_now, channel, entries.values(), signers, now)
    return Prepared(channel, models.pop(), role, files, release_seq)


def prepare_promotion(
    role_now: bytes,
    listed: Sequence[Listed],
    *,
    channel: Channel,
    signers: Sequence[Signer],
    now: datetime,
    release_seq: int = 0,
    rollback_of: int = 0,
) -> Prepared:
    """List the same bytes in another channel under the same number, or under a new one that takes a release back."""
    if not listed:
        raise WrongUse("nothing to promote: no channel lists this release")
    entries = [moved(one, channel, release_seq=release_seq, rollback_of=rollback_of) for one in listed]
    role = _add(role_now, channel, entries, signers, now)
    return Prepared(channel, listed[0].release.model, role, {}, release_seq or listed[0].release.release_seq)


def prepare_withdrawal(
    role_now: bytes, *, channel: Channel, model: str, release_seq: int, signers: Sequence[Signer], now: datetime
) -> Prepared:
    """Stop listing a release in a channel."""
    metadata = read_role(role_now, channel)
    gone = [one.path for one in listed_in(channel, metadata.signed) if one.key[:2] == (model, release_seq)]
    if not gone:
        raise WrongUse(f"channel {channel!r} does not list release {release_seq} of {model!r}")
    for path in gone:
        del metadata.signed.targets[path]
    return Prepared(channel, ModelName(model), _signed_anew(metadata, signers, now), {}, release_seq)


def _add(
    role_now: bytes, channel: Channel, entries: Iterable[TargetFile], signers: Sequence[Signer], now: datetime
) -> bytes:
    metadata = read_role(role_now, channel)
    for entry in entries:
        if entry.path in metadata.signed.targets:
            raise Refused("number-taken", f"{entry.path} is listed already; releases are immutable, take a new number")
        metadata.signed.targets[entry.path] = entry
    _drop_oldest(metadata.signed)
    return _signed_anew(metadata, signers, now)


def _drop_oldest(role: Targets) -> None:
    """Let the lowest numbers of the model with the most entries leave, until the role is short enough."""
    while len(role.targets) > MAX_ENTRIES:
        by_model: dict[str, list[tuple[int, str]]] = {}
        for path in role.targets:
            _, model, number, _ = path.split("/")
            by_model.setdefault(model, []).append((int(number), path))
        longest = max(len(entries) for entries in by_model.values())
        _, oldest = min(min(entries) for entries in by_model.values() if len(entries) == longest)
        del role.targets[oldest]


def _signed_anew(metadata: Metadata[Targets], signers: Sequence[Signer], now: datetime) -> bytes:
    metadata.signed.version += 1
    metadata.signed.expires = now + CHANNEL_EXPIRY
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
