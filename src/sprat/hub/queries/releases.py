"""Releases as an operator compares them: what is signed, what was measured, who signed it, where it runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sprat.hub.queries.board import Fleet
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rows import PublishedRelease


@dataclass(frozen=True, slots=True)
class BundleRow:
    """One bundle of a release, in one channel and for one target."""

    release: PublishedRelease
    metric: Mapping[str, float]
    signers: tuple[str, ...]
    format: str
    scheme: str
    runtimes: tuple[str, ...]
    running: int
    """Devices that run exactly this bundle."""


@dataclass(frozen=True, slots=True)
class ReleaseGroup:
    """All bundles of one number of one model."""

    model: str
    release_seq: int
    channels: tuple[str, ...]
    bundles: tuple[BundleRow, ...]
    running: int
    rollback_of: int


def releases(store: FleetStore, fleet: Fleet, *, model: str = "") -> tuple[ReleaseGroup, ...]:
    """Return every release, the newest number of each model first."""
    groups: dict[tuple[str, int], list[PublishedRelease]] = defaultdict(list)
    for release in store.releases.all(model=model):
        groups[release.model, release.release_seq].append(release)
    on_bundle: dict[str, int] = defaultdict(int)
    for row in fleet.rows:
        for state in row.models:
            on_bundle[state.report.running] += 1
    return tuple(
        ReleaseGroup(
            model=name,
            release_seq=seq,
            channels=tuple(sorted({release.channel for release in found})),
            bundles=tuple(_bundle(release, on_bundle[release.bundle]) for release in found),
            running=fleet.running.get((name, seq), 0),
            rollback_of=_integer(found[0].signed.get("rollback_of")),
        )
        for (name, seq), found in groups.items()
    )


def _bundle(release: PublishedRelease, running: int) -> BundleRow:
    manifest, measured = release.manifest, {**release.signed.get("measured", {}), **release.measured}
    artifact = _mapping(manifest.get("artifact"))
    return BundleRow(
        release=release,
        metric={str(name): value for name, value in _mapping(manifest.get("metric")).items() if _is_number(value)},
        signers=_names(measured.get("signers")) or _names(release.signed.get("signers")),
        format=str(artifact.get("format", "")),
        scheme=str(artifact.get("scheme", "")),
        runtimes=tuple(f"{name} ≥ {version}" for name, version in _mapping(manifest.get("runtimes")).items()),
        running=running,
    )


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _names(raw: object) -> tuple[str, ...]:
    return tuple(map(str, raw)) if isinstance(raw, list | tuple) else ()


def _integer(raw: object) -> int:
    return raw if isinstance(raw, int) else 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
