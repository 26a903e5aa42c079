"""What is published: takes in signed releases, serves the signed files, and keeps the list that pages read.

The signed repository is the truth. The table of releases follows it: `follow()` repeats safely, so a hub that was
killed between the two is put right at its next start.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sprat.errors import Refused, WrongUse
from sprat.hub.folder import HubFolder
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rows import PublishedRelease
from sprat.publish import keys
from sprat.publish.repository import Listed, Repository
from sprat_device.contract import bundle as bundles
from sprat_device.contract.ids import Channel, Digest, target_path


@dataclass(frozen=True, slots=True)
class ReleaseDesk:
    """The hub's side of publishing; one change at a time."""

    folder: HubFolder
    store: FleetStore
    now_us: Callable[[], int]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def repository(self) -> Repository:
        """Return the repository, founded or not."""
        return Repository(self.folder.repository, keys.online_signer(self.folder.online_key))

    @property
    def founded(self) -> bool:
        """Tell whether a publisher has given it a signing root."""
        return self.repository.exists

    def online_key(self) -> dict[str, Any]:
        """Return the public part of the key that signs snapshot and timestamp."""
        return keys.public_document(keys.online_signer(self.folder.online_key).public_key)

    def found(self, metadata: Mapping[str, bytes], who: str) -> None:
        """Begin with the metadata that a publisher signed."""
        with self._lock:
            Repository.found(self.folder.repository, metadata, keys.online_signer(self.folder.online_key))
            self.store.audit.add(who, "repository.found", "root", self.now_us(), {"root": self.root_sha256()})

    def root(self) -> bytes:
        """Return the newest signing root, or raise Refused where there is none."""
        return self._founded().root_bytes()

    def root_sha256(self) -> Digest:
        """Return the SHA-256 of the signing root, as enrolment tokens carry it."""
        return Digest(sha256(self.root()).hexdigest())

    def require_channel(self, channel: Channel) -> None:
        """Raise WrongUse for a channel that the repository does not have: a device of it would wait for ever."""
        known = self._founded().channels()
        if channel not in known:
            raise WrongUse(f"channel {channel!r}: this hub has {', '.join(known)}")

    def role(self, name: str) -> bytes:
        """Return the newest metadata of a role."""
        return self._founded().role_bytes(name)

    def next_release_seq(self, model: str) -> int:
        """Return the number of the next release of a model."""
        return self._founded().next_release_seq(model)

    def accept(
        self, channel: Channel, role: bytes, files: Mapping[str, Any], measured: Mapping[str, Any], *, who: str
    ) -> tuple[PublishedRelease, ...]:
        """Take in a signed channel role with its new bundles (target path -> file); returns what is newly listed."""
        with self._lock:
            new = self._founded().accept(channel, role, files)
            self._follow(who, measured)
            found = {(one.channel, one.release.model, one.release.release_seq, one.release.target) for one in new}
            return tuple(r for r in self.store.releases.all() if (r.channel, r.model, r.release_seq, r.target) in found)

    def follow(self) -> None:
        """Bring the table of releases up to the repository."""
        if self.founded:
            with self._lock:
                self._follow("hub", {})

    def refresh(self) -> None:
        """Sign the timestamp anew; do it daily, devices refuse one that is too old."""
        if self.founded:
            with self._lock:
                self.repository.refresh_timestamp()

    def _founded(self) -> Repository:
        repository = self.repository
        if not repository.exists:
            raise Refused("no-signing-root", "this hub has none yet; make one with `sprat keys init --hub URL`")
        return repository

    def _follow(self, who: str, measured: Mapping[str, Any]) -> None:
        listed = {one.path: one for one in self.repository.listing()}
        kept = {_path(r): r for r in self.store.releases.all()}
        now_us = self.now_us()
        with self.store.transaction():
            for path, one in listed.items():
                if path not in kept or kept[path].withdrawn_us:
                    self.store.releases.add(self._describe(one, measured.get(path, {}), who, now_us))
                    self.store.audit.add(who, "release.accept", path, now_us, {"bundle": one.bundle})
            for path, r in kept.items():
                if path not in listed and not r.withdrawn_us:
                    self.store.releases.withdraw(r.channel, r.model, r.release_seq, r.target, now_us)
                    self.store.audit.add(who, "release.withdraw", path, now_us)

    def _describe(self, one: Listed, measured: Mapping[str, Any], who: str, now_us: int) -> PublishedRelease:
        with (self.folder.repository / "targets" / one.stored_as).open("rb") as file, bundles.read(file) as bundle:
            manifest = json.loads(bundle.manifest.dump())
        return PublishedRelease(
            channel=one.channel,
            model=one.release.model,
            release_seq=one.release.release_seq,
            target=one.release.target,
            bundle=one.bundle,
            size=one.length,
            signed=one.release.dump(),
            manifest=manifest,
            measured=measured,
            accepted_us=now_us,
            accepted_by=who,
        )


def _path(release: PublishedRelease) -> str:
    return target_path(release.channel, release.model, release.release_seq, release.target)
