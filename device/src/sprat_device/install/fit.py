"""Does a release fit this machine? Asked before a byte of it is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.phases import Reason
from sprat_device.contract.release import Release


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides whether a bundle can run here."""

    arch: str
    ram_kib: int
    runtimes: Mapping[str, str]
    """Installed runtime -> version."""
    prefer: Sequence[str] = ()
    """Runtimes in the order in which this device wants them."""


def require_fit(release: Release, machine: Machine, *, free_kib: int, missing_kib: int) -> str:
    """Return the runtime to use, or raise BundleRefused; `missing_kib` is what is still to be fetched."""
    if release.arch and machine.arch not in release.arch:
        raise BundleRefused(
            Reason.WRONG_ARCH, f"release is for {', '.join(release.arch)}, this machine is {machine.arch}"
        )
    runtime = choose_runtime(release.runtimes, machine)
    if release.ram_peak_kib > machine.ram_kib:
        raise BundleRefused(
            Reason.NO_RAM, f"release needs {release.ram_peak_kib} KiB of memory, this machine has {machine.ram_kib}"
        )
    if missing_kib > free_kib:
        raise BundleRefused(Reason.NO_FLASH, f"release needs {missing_kib} KiB of disk, {free_kib} KiB are free")
    return runtime


def choose_runtime(wanted: Mapping[str, str], machine: Machine) -> str:
    """Return the installed runtime that this device likes best among those that are new enough."""
    fitting = [
        name for name, least in wanted.items() if name in machine.runtimes and at_least(machine.runtimes[name], least)
    ]
    if not fitting:
        needs = " or ".join(f"{name} >= {least}" for name, least in wanted.items())
        has = ", ".join(f"{name} {version}" for name, version in machine.runtimes.items()) or "none"
        raise BundleRefused(Reason.WRONG_RUNTIME, f"release needs {needs}, this device has {has}")
    order = {name: place for place, name in enumerate(machine.prefer)}
    return min(fitting, key=lambda name: order.get(name, len(order)))


def at_least(found: str, least: str) -> bool:
    """Compare two versions by their numbers."""
    for mine, theirs in zip_longest(_numbers(found), _numbers(least), fillvalue=0):
        if mine != theirs:
            return mine > theirs
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.split("+", 1)[0])]
