"""Who is addressed, in which wave, and by which target's bundle."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sprat.hub.store.rollout_values import Cohort, Wave
from sprat_device.contract.phases import Reason
from sprat_device.contract.release import Release

TARGET_LABEL = "target"
"""A device with this label gets that target's bundle and no other."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The bundle that suits a device."""

    target: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why no bundle of the release suits a device, or why nobody can say yet."""

    reason: str
    detail: str
    known: bool = True
    """False while the device has not told its facts."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One bundle of a release: what is signed of it, and its digest."""

    release: Release
    bundle: str


def addressed(cohort: Cohort, device: str, labels: Mapping[str, str]) -> bool:
    """Tell whether a device belongs to a cohort."""
    if cohort.everyone:
        return True
    if cohort.labels:
        return all(labels.get(name) == value for name, value in cohort.labels.items())
    return device in cohort.devices


def assign(waves: Sequence[Wave], devices: Collection[str], *, salt: str) -> dict[str, int]:
    """Place devices in waves: named ones where they are named, the others in a stable order that `salt` decides.

    A percentage is of the whole cohort and cumulative, rounded up, so that a first wave is never empty. Whom no wave
    reaches is not addressed.
    """
    placed = {device: i for i, wave in reversed(list(enumerate(waves))) for device in wave.devices if device in devices}
    order = sorted(set(devices) - placed.keys(), key=lambda device: _stable(salt, device))
    for i, wave in enumerate(waves):
        wanted = wave.count
        if wave.percent:
            so_far = sum(1 for at in placed.values() if at <= i)
            wanted = max(0, math.ceil(len(devices) * wave.percent / 100) - so_far)
        for device in order[:wanted]:
            placed[device] = i
        order = order[wanted:]
    return placed


def takes_newcomers(waves: Sequence[Wave]) -> bool:
    """Tell whether a device that joins the cohort later belongs to the last wave."""
    return waves[-1].percent >= 100


def fit(facts: Mapping[str, Any], labels: Mapping[str, str], candidates: Iterable[Candidate]) -> Fit | Misfit:
    """Choose the bundle for a device: of those that fit, the one that asks for the least RAM."""
    found = sorted(candidates, key=lambda c: (c.release.ram_peak_kib, c.release.target))
    wanted = labels.get(TARGET_LABEL, "")
    if wanted:
        found = [candidate for candidate in found if candidate.release.target == wanted]
    if not found:
        what = f"for target {wanted!r}" if wanted else "that is listed"
        return Misfit(Reason.NOT_LISTED, f"the release has no bundle {what}")
    # What a device says when it enrols may name no runtimes: until its first report nothing can be judged.
    if "runtimes" not in facts:
        return Misfit("", "the device has not told its facts yet", known=False)
    misfits: list[Misfit] = []
    for candidate in found:
        lacking = _lacking(facts, candidate.release)
        if lacking is None:
            return Fit(candidate.release.target, candidate.bundle)
        misfits.append(lacking)
    return misfits[0] if len(misfits) == 1 else Misfit(misfits[0].reason, "; ".join(m.detail for m in misfits))


def _lacking(facts: Mapping[str, Any], release: Release) -> Misfit | None:
    arch = str(facts.get("arch", ""))
    if release.arch and arch not in release.arch:
        return Misfit(Reason.WRONG_ARCH, f"{release.target} runs on {', '.join(release.arch)}, the device is {arch}")
    runtimes = facts.get("runtimes")
    present = runtimes if isinstance(runtimes, Mapping) else {}
    if not any(_at_least(str(present.get(name, "")), least) for name, least in release.runtimes.items()):
        wanted = " or ".join(f"{name} >= {least}" for name, least in sorted(release.runtimes.items()))
        has = ", ".join(f"{name} {version}" for name, version in sorted(present.items())) or "none"
        return Misfit(Reason.WRONG_RUNTIME, f"{release.target} needs {wanted}, the device has {has}")
    for what, key, need, reason in (
        ("RAM", "ram_kib", release.ram_peak_kib, Reason.NO_RAM),
        ("free disk", "disk_free_kib", release.flash_kib, Reason.NO_FLASH),
    ):
        has_kib = facts.get(key)
        if isinstance(has_kib, int | float) and has_kib < need:
            return Misfit(reason, f"{release.target} needs {need} KiB of {what}, the device has {has_kib}")
    return None


def _at_least(found: str, least: str) -> bool:
    return bool(found) and _numbers(found) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def _stable(salt: str, device: str) -> bytes:
    return hashlib.sha256(f"{salt}/{device}".encode()).digest()
