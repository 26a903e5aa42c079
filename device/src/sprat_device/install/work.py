"""The updater's work on one offer: fetching -> staged -> checked, or refused; each phase persisted as it is reached.

Every refusal before the first byte of a bundle comes from what is signed: channel and models are those that this
device pinned, numbers stay above the floor, and the bundle must fit the machine.
"""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sprat_device.board.clock import Clock
from sprat_device.board.files import Files
from sprat_device.board.identity import Identity
from sprat_device.board.settings import InstallSettings
from sprat_device.contract import bundle as bundles
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.release import require_agreement
from sprat_device.contract.twin import Offer
from sprat_device.install.bounds import KILLED, unlimited
from sprat_device.install.fetch import Pace, Wanted, fetch
from sprat_device.install.fit import Machine, require_fit
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.machine import UPDATING, Event, step
from sprat_device.install.origins import Origin, TryLater
from sprat_device.install.probation import Probation
from sprat_device.install.record import OFFLINE, Install, Records
from sprat_device.install.roles import model_of
from sprat_device.install.slots import Slots
from sprat_device.install.trust import Signed, Trust

_SPARE_KIB: Final = 1024
"""Left free on the disk beside the bundle."""
_CHECK_TIMEOUT_S: Final = 600
_SLOW_FACTOR: Final = 20
_SLOW_LEAST_US: Final = 50_000
"""In the agent a prediction shares the processor: only what is far beyond the check's own p99 is slow."""
_GROWTH_LEAST_KIB: Final = 16 * 1024
"""After its first prediction a bundle needs at most what its check needed above the runtime; less than this is noise."""


class Superseded(Exception):
    """The agent has written a newer offer; this work is void."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the work touches."""

    state: Path
    files: Files
    clock: Clock
    settings: InstallSettings
    identity: Identity
    machine: Machine
    origin: Origin
    trust: Trust
    check: Sequence[str]
    """The command that checks a bundle; its path and options are added."""


def work(key: ModelName, ports: Ports) -> Install:
    """Bring an install (of a model, or of its shadow) as far as it gets now, and return its record."""
    records, model = Records(ports.files, ports.state), model_of(key)
    install = records.load(key)
    while install.phase in UPDATING and install.offer is not None:
        offer, before = install.offer, install
        try:
            install, event = (
                _fetch(model, offer, install, ports)
                if install.phase is Phase.FETCHING
                else _check(offer, install, ports)
            )
        except TryLater as exc:
            install, event = _later(install.because(exc.reason, str(exc)), ports.settings)
        except BundleRefused as exc:
            install, event = install.because(exc.reason, str(exc.args[0])), Event.REFUSED
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            install, event = install.because(Reason.NO_FLASH, "the disk is full"), Event.REFUSED
        phase, _ = step(install.phase, event)
        install = replace(install, phase=phase)
        if records.load(key).offer != offer:
            raise Superseded
        if install != before:
            records.store(key, install)
        if event is Event.TRY_LATER:
            break
    return install


def _later(install: Install, settings: InstallSettings) -> tuple[Install, Event]:
    """Try again, unless it was memory that lacked too often: that does not come back by waiting for ever."""
    if install.reason != Reason.OUT_OF_MEMORY:
        return install, Event.TRY_LATER
    install = replace(install, failures=install.failures + 1)
    return install, Event.REFUSED if install.failures >= settings.updater_attempts else Event.TRY_LATER


def choose(model: ModelName, ports: Ports) -> Offer | None:
    """Return the newest release of the channel that fits this machine, as an offer; for a folder that somebody brought."""
    listed = ports.trust.listed(ports.origin, ports.identity.channel, model)
    for signed in sorted(listed, key=lambda one: (-one.release.release_seq, one.path)):
        release = signed.release
        try:
            require_fit(release, ports.machine, free_kib=_free_kib(ports), missing_kib=0)
        except BundleRefused:
            continue
        return Offer(OFFLINE, ports.identity.channel, release.release_seq, release.target, signed.bundle)
    return None


def _fetch(model: ModelName, offer: Offer, install: Install, ports: Ports) -> tuple[Install, Event]:
    _require_pinned(model, offer, ports.identity)
    signed = _signed(model, offer, ports)
    slots = Slots(ports.files, ports.state)
    slots.prepare()
    part, target = slots.part(signed.bundle), slots.path(signed.bundle)
    held = ports.files.size(part) if ports.files.exists(part) else 0
    missing = 0 if ports.files.exists(target) else max(0, signed.length - held) // 1024 + _SPARE_KIB
    runtime = require_fit(signed.release, ports.machine, free_kib=_free_kib(ports), missing_kib=missing)
    settings = ports.settings
    pace = Pace(settings.minimum_bytes_per_s, settings.total_s, settings.maximum_bytes_per_s)
    wanted = Wanted(signed.stored_as, signed.length, signed.bundle)
    fetch(wanted, ports.origin, part=part, target=target, files=ports.files, clock=ports.clock, pace=pace)
    with ports.files.open_read(target) as file, bundles.read(file) as bundle:
        require_agreement(signed.release, bundle.manifest)
    return replace(install.because("", ""), runtime=runtime), Event.FETCHED


def _require_pinned(model: ModelName, offer: Offer, identity: Identity) -> None:
    if offer.channel != identity.channel:
        raise BundleRefused(
            Reason.NOT_PINNED, f"offer is of channel {offer.channel!r}, this device follows {identity.channel!r}"
        )
    if model not in identity.models:
        raise BundleRefused(Reason.NOT_PINNED, f"model {model!r} is not among those that this device runs")


def _signed(model: ModelName, offer: Offer, ports: Ports) -> Signed:
    """Return what is signed of the offer, once it is no older than the floor and what the hub said of it."""
    listed = ports.trust.listed(ports.origin, ports.identity.channel, model)
    least = max(ReleaseFloors(ports.files, ports.state).of(model), *(one.release.min_release_seq for one in listed), 0)
    if offer.release_seq < least:
        raise BundleRefused(Reason.BELOW_FLOOR, f"release {offer.release_seq} is offered, the floor is {least}")
    for one in listed:
        if (one.release.release_seq, one.release.target) == (offer.release_seq, offer.target):
            if one.bundle != offer.bundle:
                raise BundleRefused(
                    Reason.HASH_MISMATCH, f"offered is bundle {offer.bundle[:12]}…, signed is {one.bundle[:12]}…"
                )
            return one
    raise BundleRefused(
        Reason.NOT_LISTED, f"channel {offer.channel!r} does not list release {offer.release_seq} for {offer.target!r}"
    )


def _check(offer: Offer, install: Install, ports: Ports) -> tuple[Install, Event]:
    path = Slots(ports.files, ports.state).path(offer.bundle)
    command = [*ports.check, str(path), "--json", "--runtime", install.runtime]
    try:
        with unlimited():
            done = subprocess.run(command, capture_output=True, timeout=_CHECK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise BundleRefused(Reason.CHECK_FAILED, f"check did not end within {_CHECK_TIMEOUT_S} s") from exc
    if done.returncode in KILLED:
        raise TryLater("check was killed, as the kernel does where memory runs out", Reason.OUT_OF_MEMORY)
    result = _result(done)
    if result.get("reason") == Reason.NO_FLASH:  # room comes back, and what was fetched stays meanwhile
        raise TryLater(str(result.get("detail")), Reason.NO_FLASH)
    if done.returncode or result.get("ok") is not True:
        said = str(result.get("reason") or "")
        reason = Reason(said) if said in set(Reason) else Reason.CHECK_FAILED
        raise BundleRefused(reason, str(result.get("detail") or f"check ended with code {done.returncode}"))
    p99 = float(result.get("latency_us", {}).get("p99", 0.0))
    slow_us = max(_SLOW_LEAST_US, round(_SLOW_FACTOR * p99))
    own_kib = int(result.get("ram_above_floor_kib", 0))
    proof = Probation(slow_us=slow_us, growth_kib=max(_GROWTH_LEAST_KIB, own_kib) if own_kib else 0)
    return replace(install.because("", ""), probation=proof), Event.CHECK_PASSED


def _result(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """Return the check's document; a check that crashed has none, and says so on stderr at best."""
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = None
    if isinstance(result, dict):
        return result
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if said and said[-1].startswith("MemoryError"):
        raise TryLater("check ran out of memory", Reason.OUT_OF_MEMORY)
    return {"detail": f"check ended with code {done.returncode}: {said[-1] if said else 'it said nothing'}"}


def _free_kib(ports: Ports) -> int:
    return ports.files.free_bytes(ports.state) // 1024
