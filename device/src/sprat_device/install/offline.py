"""Installs from a copied repository, a stick's folder or an archive: the same steps and checks as from the hub.

It ends where the updater ends, at `checked`: the agent, running or at its next start, takes the bundle into trial.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sprat_device.board import alone
from sprat_device.board import identity as identities
from sprat_device.board import settings as device_settings
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed
from sprat_device.install.archive import ArchiveOrigin
from sprat_device.install.hours import Hours
from sprat_device.install.machine import Event, step
from sprat_device.install.origins import FolderOrigin, Origin, TryLater
from sprat_device.install.record import Install, Records
from sprat_device.install.slots import Slots
from sprat_device.install.updater import locked, ports_of
from sprat_device.install.work import Ports, choose, work

_WAIT_S: Final = 60.0
_LOOK_S: Final = 0.2
_NOTHING: Final = "nothing for it in"


def install_copy(state: Path, copy: Path, *, runtimes: Mapping[str, str], wait_s: float = _WAIT_S) -> dict[str, str]:
    """Stage the newest fitting release of each model, or raise; returns model -> how it went. `copy` is a folder or archive.

    One model's refusal does not keep the others from theirs; it is raised when all were tried.
    """
    with _brought(copy) as brought:
        done, refused = _install_all(state, brought, runtimes=runtimes, wait_s=wait_s)
    if refused and all(text.startswith(("refused", _NOTHING)) for text in done.values()):
        raise refused[0]
    if all(text.startswith(_NOTHING) for text in done.values()):
        raise BundleRefused(
            Reason.NOT_LISTED,
            f"the channel of this device lists no release of {', '.join(done)} that fits this machine",
        )
    return done


def _install_all(
    state: Path, brought: Origin, *, runtimes: Mapping[str, str], wait_s: float
) -> tuple[dict[str, str], list[BundleRefused]]:
    settings = device_settings.load(state, environment=os.environ)
    ports = ports_of(state, identities.load(state), settings, runtimes=runtimes, brought=brought)
    done: dict[str, str] = {}
    refused: list[BundleRefused] = []
    with _locked(ports, wait_s):
        for model in ports.identity.models:
            try:
                done[model] = _install(model, ports)
            except BundleRefused as exc:
                refused.append(exc)
                done[model] = f"refused, {exc}"
    return done, refused


@contextmanager
def _brought(copy: Path) -> Iterator[Origin]:
    if copy.is_dir():
        if not (copy / "metadata").is_dir():
            raise WrongUse(f"{copy} has no metadata/: expected a copied repository; a lone bundle is not signed")
        yield FolderOrigin(copy)
    else:
        with closing(ArchiveOrigin(copy)) as archive:
            yield archive


@contextmanager
def _locked(ports: Ports, wait_s: float) -> Iterator[None]:
    """Hold the updater's lock; a look at the hub, which an agent takes now and then, is waited for."""
    until_s = time.monotonic() + wait_s
    while True:
        with locked(ports.files, ports.state) as mine:
            if mine:
                yield
                return
        if time.monotonic() >= until_s:
            raise MachineLacks(
                f"the agent's updater has been at work for {wait_s:g} s; see sprat-device status, and try again later"
            )
        time.sleep(_LOOK_S)


def _install(model: ModelName, ports: Ports) -> str:
    offer = choose(model, ports)
    if offer is None:
        return f"{_NOTHING} channel {ports.identity.channel!r} that fits this machine"
    records = Records(ports.files, ports.state)
    before = records.load(model)
    if Slots(ports.files, ports.state).load(model).active == Installed(offer.bundle, offer.release_seq):
        return f"release {offer.release_seq} is active already"
    if before.phase is Phase.TRIAL:
        return f"release {before.report().release_seq} is on trial; try again when it is confirmed or reverted"
    phase, _ = step(before.phase, Event.OFFERED)
    records.store(model, Install(phase, offer, attempts=1))
    done = work(model, ports)
    if done.phase is Phase.REFUSED:
        raise BundleRefused(Reason(done.reason), done.detail)
    if done.phase is not Phase.CHECKED:
        raise TryLater(done.detail)
    return f"release {offer.release_seq} is checked; {_next(ports)}"


def _next(ports: Ports) -> str:
    if not alone.is_held(ports.state):
        return "no agent runs here, it takes it into trial when it starts"
    closed = Hours(ports.state, ports.files, ports.clock, ports.settings.maintenance).closed(urgent=True)
    return f"the agent takes it into trial{f' later: {closed.detail}' if closed else ''}"
