"""PURE: what changes in a desired twin. A change that changes nothing keeps the version, so nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sprat_device.contract.twin import Desired, InputMode, Offer, TelemetrySettings


def first(incarnation: str) -> Desired:
    """Return the twin of a device of which nothing is wanted yet."""
    return Desired(incarnation, 0)


def with_offer(desired: Desired, model: str, offer: Offer | None) -> Desired:
    """Offer a release of one model, or nothing of it any more."""
    offers = {name: kept for name, kept in desired.offers.items() if name != model}
    if offer is not None:
        offers[model] = offer
    return _changed(desired, offers=offers)


def with_settings(
    desired: Desired, telemetry: TelemetrySettings, log_level: str, inputs: Mapping[str, InputMode] | None = None
) -> Desired:
    """Tune telemetry and log level, and switch inputs; what is empty or not named is the device's own."""
    return _changed(desired, telemetry=telemetry, log_level=log_level, inputs=dict(inputs or {}))


def with_maintenance(desired: Desired, asked: Mapping[str, Any]) -> Desired:
    """Ask for maintenance windows, as `maintenance.parse` reads them; an empty mapping asks for none."""
    return _changed(desired, maintenance=asked)


def under(desired: Desired, incarnation: str) -> Desired:
    """Return the same wishes under the store's incarnation, which differs after a backup was restored."""
    return replace(desired, incarnation=incarnation)


def _changed(desired: Desired, **changes: Mapping[str, Any] | TelemetrySettings | str) -> Desired:
    changed = replace(desired, **changes)  # type: ignore[arg-type] # the callers name fields of Desired
    return desired if changed == desired else replace(changed, version=desired.version + 1)
