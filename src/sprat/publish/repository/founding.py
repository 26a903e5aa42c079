"""The first metadata of a repository: root, targets and one delegated role per channel, signed by the offline keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Role, Root, Snapshot, Targets, Timestamp

from sprat.publish.keys import CHANNELS, KeyFolder, Passphrase
from sprat.publish.repository.folder import Repository

EXPIRY: Final = {"root": timedelta(days=5 * 365), "targets": timedelta(days=2 * 365)}
CHANNEL_EXPIRY: Final = timedelta(days=365)


def initial_metadata(keys: KeyFolder, online: Key, *, passphrase: Passphrase, now: datetime) -> dict[str, bytes]:
    """Sign the first root, targets and channel roles: file name -> bytes, for `Repository.found` on the other side."""
    signed: dict[str, Root | Targets] = {"root": _root(keys, online), "targets": _targets(keys)}
    signed |= {channel: Targets() for channel in CHANNELS}
    found = {}
    for role, content in signed.items():
        content.expires = now + EXPIRY.get(role, CHANNEL_EXPIRY)
        found[f"1.{role}.json"] = _sign(content, keys.signers(role, passphrase=passphrase))
    return found


def create(
    folder: Path,
    keys: KeyFolder,
    online: Signer,
    *,
    passphrase: Passphrase,
    now: datetime,
    fixed_now: datetime | None = None,
) -> Repository:
    """Found a repository whose online key is on this machine too (a folder that becomes a stick)."""
    metadata = initial_metadata(keys, online.public_key, passphrase=passphrase, now=now)
    return Repository.found(folder, metadata, online, now=fixed_now)


def _root(keys: KeyFolder, online: Key) -> Root:
    root = Root(consistent_snapshot=True)
    for role in (Root.type, Targets.type):
        threshold, publics = keys.publics(role)
        root.roles[role] = Role([], threshold)
        _add(root, role, publics)
    for role in (Snapshot.type, Timestamp.type):
        _add(root, role, [online])
    return root


def _targets(keys: KeyFolder) -> Targets:
    targets = Targets(delegations=Delegations({}, {}))
    for channel in CHANNELS:
        threshold, publics = keys.publics(channel)
        role = DelegatedRole(channel, [], threshold, terminating=True, paths=[f"{channel}/*/*/*"])
        if targets.delegations is None or targets.delegations.roles is None:
            raise AssertionError("Delegations() has roles")
        targets.delegations.roles[channel] = role
        _add(targets, channel, publics)
    return targets


def _add(delegator: Root | Targets, role: str, publics: Iterable[Key]) -> None:
    for key in publics:
        delegator.add_key(key, role)


def _sign(content: Root | Targets, signers: Iterable[Signer]) -> bytes:
    metadata: Metadata[Any] = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
