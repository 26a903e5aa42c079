"""Upgrade: the new agent beside the old one, on trial first; if it is not well in time, the old one goes on.

In order: environment, trial (service.py), link, unit, record. The link goes before the unit: a new agent runs under an
old unit, an old agent need not run under a new one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sprat_device.board import identity as identities
from sprat_device.board.upkeep import environments, places, service
from sprat_device.board.upkeep.house import House
from sprat_device.board.upkeep.joining import Joining
from sprat_device.board.upkeep.places import BoardRefused, Record
from sprat_device.board.upkeep.site import Done, Site
from sprat_device.board.upkeep.sources import From, require_packages, wheelhouse


def upgrade(site: Site, source: From) -> Done:
    """Take the agent of a wheelhouse, from a folder or from the hub, if it proves to be well."""
    record = _standing(site)
    known = identities.load(site.at.state)
    if service.end_trial(site):  # an upgrade was cut off
        site.machine.restart()
    with wheelhouse(site, source, Joining(), known) as found:
        if found.environment == record.environment:
            return Done(found.environment, found.manifest.agent, known.device)
        upgrade_to(site, record, found, tried=True)
    return Done(found.environment, found.manifest.agent, known.device, record.environment)


def _standing(site: Site) -> Record:
    """Return the record, with the environment that runs: a power cut may have come between the link and the record."""
    record, running = places.load(site.at), site.at.current.resolve()
    if running.name == record.environment or not environments.is_whole(running):
        return record
    return replace(record, environment=running.name, previous=record.environment)


def upgrade_to(site: Site, record: Record, found: House, *, tried: bool) -> None:
    """Make the environment, try it, and keep it or go back; a board without identity has nothing to try it with."""
    require_packages(site, found)
    folder = environments.make(site.at, found, site.say)
    try:
        unit = service.text(site, folder, python=site.at.python, record=record)
        if tried:
            _try(site, found.manifest.agent, folder, record)
    except BaseException:
        # A cut may have left it as the current one, with the record of the one before.
        if found.environment != record.previous and folder != site.at.current.resolve():
            environments.remove(folder)
        raise
    environments.switch(site.at, folder)
    service.write(site, unit)
    service.end_trial(site)
    now = replace(
        record, environment=found.environment, previous=record.environment, runtime=found.manifest.runtime,
        target=found.manifest.target,
    )  # fmt: skip
    now.save(site.at)
    environments.keep_only(site.at, now.environment, now.previous)


def _try(site: Site, agent: str, folder: Path, record: Record) -> None:
    """Return if the new agent is well; else start the old one again and raise."""
    site.say(f"trying agent {agent}")
    try:
        service.begin_trial(site, service.text(site, folder, python=folder / "bin/python", record=record))
        why = service.restart(site, agent)
    except BaseException:
        _go_back(site)
        raise
    if why:
        _go_back(site)
        raise BoardRefused("not-well", f"the new agent is not kept: {why}; see: {site.machine.journal()}")


def _go_back(site: Site) -> None:
    site.say("going back to the old agent")
    service.end_trial(site)
    if why := service.restart(site, environments.version(site.at.current)):
        site.say(f"the old agent was started again, but {why}; see: {site.machine.journal()}")
