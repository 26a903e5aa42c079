"""Where a release is published to: a hub, or a repository in a local folder; both take the same signed roles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer

from sprat.errors import MachineLacks, WrongUse
from sprat.settings import Settings
from sprat_device.contract.ids import Channel, Digest, target_path
from sprat_device.contract.release import parse

if TYPE_CHECKING:
    from sprat.client import HubClient
    from sprat.publish.repository import Listed, Prepared, Repository

ONLINE_KEY: Final = "online.pem"
RepoOption = Annotated[
    Path | None, typer.Option("--repo", metavar="DIR", help="A repository folder on this machine instead of a hub.")
]
KeysOption = Annotated[
    Path | None, typer.Option("--keys", metavar="DIR", help="Folder of the signing keys; else SPRAT_KEYS_DIR.")
]
Measured = Mapping[str, Mapping[str, Any]]


class Shelf(Protocol):
    """A repository as a publisher sees it."""

    def role(self, channel: str) -> bytes:
        """Return the newest metadata of a channel."""

    def next_release_seq(self, model: str) -> int:
        """Return the number of the next release of a model."""

    def listing(self) -> list[Listed]:
        """Return every release that a channel lists."""

    def publish(self, prepared: Prepared, measured: Measured) -> None:
        """Hand over a signed role and its new bundles; `measured` is by target path."""

    def close(self) -> None:
        """Close what is open."""


class FolderShelf:
    """A repository in a folder, its online key beside the publisher's own."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def role(self, channel: str) -> bytes:
        """Return the newest metadata of a channel."""
        if channel not in self._repository.channels():
            raise WrongUse(f"channel {channel!r}: this repository has {', '.join(self._repository.channels())}")
        return self._repository.role_bytes(channel)

    def next_release_seq(self, model: str) -> int:
        """Return the number of the next release of a model."""
        return self._repository.next_release_seq(model)

    def listing(self) -> list[Listed]:
        """Return every release that a channel lists."""
        return self._repository.listing()

    def publish(self, prepared: Prepared, measured: Measured) -> None:
        """Take in a signed role and its new bundles; measurements are a hub's to keep."""
        del measured
        self._repository.accept(prepared.channel, prepared.role, prepared.files)

    def close(self) -> None:
        """Close nothing."""


class HubShelf:
    """A hub's repository."""

    def __init__(self, client: HubClient) -> None:
        self._client = client

    def role(self, channel: str) -> bytes:
        """Return the newest metadata of a channel."""
        return self._client.role(channel)

    def next_release_seq(self, model: str) -> int:
        """Return the number of the next release of a model."""
        return self._client.next_release_seq(model)

    def listing(self) -> list[Listed]:
        """Return every release that a channel lists."""
        return [_listed(row) for row in self._client.releases() if not row.get("withdrawn_us")]

    def publish(self, prepared: Prepared, measured: Measured) -> None:
        """Send a signed role and its new bundles."""
        self._client.publish(prepared.channel, prepared.role, prepared.files, measured)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_shelf(settings: Settings, repo: Path | None) -> Shelf:
    """Return the shelf that the user means."""
    if repo is None:
        if not settings.hub:
            raise WrongUse("nowhere to publish to; give --hub URL (or SPRAT_HUB), or --repo DIR for a local folder")
        from sprat.client import HubClient

        return HubShelf(HubClient(settings.hub, settings.token))
    from sprat.publish.keys import online_signer
    from sprat.publish.repository import Repository

    repository = Repository(repo, online_signer(settings.keys_dir / ONLINE_KEY))
    if not repository.exists:
        raise MachineLacks(f"{repo} is no repository; begin one with: sprat keys init --repo {repo}")
    return FolderShelf(repository)


def _listed(row: Mapping[str, Any]) -> Listed:
    from sprat.publish.repository import Listed

    release, channel = parse(row["signed"]), Channel(row["channel"])
    path = target_path(channel, release.model, release.release_seq, release.target)
    return Listed(channel, path, Digest(row["bundle"]), int(row["size"]), release)
