"""Installs from a copied repository, a stick for instance: the same steps and checks as from the hub.

It ends where the updater ends, at `checked`: the agent, running or at its next start, takes the bundle into trial.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sprat_device.board import identity as identities
from sprat_device.board import settings as device_settings
from sprat_device.contract.errors import BundleRefused, MachineLacks, WrongUse
from sprat_device.contract.ids import ModelName
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Installed
from sprat_device.install.machine import Event, step
from sprat_device.install.origins import TryLater
from sprat_device.install.record import Install, Records
from sprat_device.install.slots import Slots
from sprat_device.install.updater import locked, ports_of
from sprat_device.install.work import Ports, choose, work


def install_folder(state: Path, folder: Path, *, runtimes: Mapping[str, str]) -> dict[str, str]:
    """Stage the newest fitting release of each model, or raise; returns model -> how it went."""
    if not (folder / "metadata").is_dir():
        raise WrongUse(f"{folder} has no metadata/: expected a copied repository; a lone bundle is not signed")
    settings = device_settings.load(state, environment=os.environ)
    ports = ports_of(state, identities.load(state), settings, runtimes=runtimes, folder=folder)
    with locked(ports.files, state) as mine:
        if not mine:
            raise MachineLacks("the updater is at work on this device; try again when it has ended")
        return {model: _install(model, ports) for model in ports.identity.models}


def _install(model: ModelName, ports: Ports) -> str:
    offer = choose(model, ports)
    if offer is None:
        raise BundleRefused(
            Reason.NOT_LISTED,
            f"channel {ports.identity.channel!r} lists no release of {model!r} that fits this machine",
        )
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
    return f"release {offer.release_seq} is checked; the agent takes it into trial"
