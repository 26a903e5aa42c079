"""Set-up: user, environment, state folder, identity, unit. All of it or nothing; done twice it changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sprat_device.board import identity as identities
from sprat_device.board import pinned
from sprat_device.board.files import OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.systemd import UNIT_NAME
from sprat_device.board.upkeep import environments, places, service
from sprat_device.board.upkeep.house import House
from sprat_device.board.upkeep.joining import Joining, enrol
from sprat_device.board.upkeep.places import BoardRefused, Places, Record
from sprat_device.board.upkeep.site import Done, Site
from sprat_device.board.upkeep.sources import From, require_packages, wheelhouse
from sprat_device.board.upkeep.upgrade import upgrade_to
from sprat_device.contract.enrolment import parse_token
from sprat_device.contract.errors import HubUnreachable, MachineLacks


def set_up(site: Site, source: From, joining: Joining, *, user: str, unit: tuple[str, ...] = ()) -> Done:
    """Bring the agent onto this board, or leave the board as it was; `unit` is options for `board unit`."""
    at, known = site.at, _identity(site.at)
    if known and joining.device and joining.device != known.device:
        raise BoardRefused(
            "other-device", f"this board is {known.device}; to make it {joining.device}: sprat-device board replace"
        )
    if joining.token and known is None:
        pinned.fetch(pinned.require_https(joining.hub), parse_token(joining.token))  # the wrong hub costs nothing yet
    before = _recorded(at)
    if before is not None and _stands(site, before):
        return _again(site, before, source, joining, known, unit=unit)
    with ExitStack() as undo, wheelhouse(site, source, joining, known) as found:
        require_packages(site, found)
        _make_environment(site, found, undo)
        record = replace(_make_user(site, found, before.user if before else user, undo), unit=unit)
        if before is not None:
            record = replace(record, user_made=record.user_made or before.user_made, unit=unit or before.unit)
        if joining.token and known is None:
            known = _enrol(site, at.environments / found.environment, joining, user, undo)
        _make_service(site, record, undo)
        record.save(at)
        undo.pop_all()
    return _started(site, record, found, known)


def _recorded(at: Places) -> Record | None:
    try:
        return places.load(at)
    except MachineLacks:
        return None  # there is none, or it is damaged: that is what a set-up mends


def _stands(site: Site, record: Record) -> bool:
    """Tell whether a cut or a worn card has left the parts of a set-up that an upgrade builds on."""
    whole = environments.is_whole(site.at.environments / record.environment)
    return whole and site.machine.has_user(record.user)


def _again(
    site: Site, before: Record, source: From, joining: Joining, known: Identity | None, *, unit: tuple[str, ...]
) -> Done:
    """Bring a board that was set up to where set-up leads: another agent is an upgrade, a missing identity is got."""
    record, tried = replace(before, unit=unit or before.unit), known is not None
    changed = service.end_trial(site)  # an upgrade was cut off
    with wheelhouse(site, source, joining, known) as found, ExitStack() as undo:
        if joining.token and known is None:
            known = _enrol(site, site.at.current, joining, record.user, undo)
        if found.environment != record.environment:
            upgrade_to(site, record, found, tried=tried)
        else:
            changed |= _make_service(site, record, undo)
            record.save(site.at)
        undo.pop_all()
    if changed and site.machine.active():
        site.machine.systemctl("stop", UNIT_NAME)
    upgraded_from = before.environment if found.environment != before.environment else ""
    return replace(_started(site, places.load(site.at), found, known), upgraded_from=upgraded_from)


def _started(site: Site, record: Record, found: House, known: Identity | None) -> Done:
    """Start the agent of a board that has an identity, unless it runs."""
    agent = found.manifest.agent
    if known and not site.machine.active() and (why := service.restart(site, agent)):
        raise MachineLacks(f"the agent is set up, but {why}; see: {site.machine.journal()}")
    return Done(record.environment, agent, known.device if known else "")


def _identity(at: Places) -> Identity | None:
    return identities.load(at.state) if (at.state / "identity/identity.json").exists() else None


def _make_environment(site: Site, found: House, undo: ExitStack) -> None:
    folder = site.at.environments / found.environment
    undo.callback(_drop_empty, site.at.environments, site.at.home)
    if not environments.is_whole(folder):
        undo.callback(environments.remove, folder)
    environments.make(site.at, found, site.say)


def _make_user(site: Site, found: House, user: str, undo: ExitStack) -> Record:
    """Make the user and its state folder."""
    state, made = site.at.state, not site.machine.has_user(user)
    if made:
        site.say(f"making user {user}")
        site.machine.make_user(user, state)
        undo.callback(site.machine.drop_user, user)
    if not state.exists():
        undo.push(_remove_unless_unreachable(state))
    OsFiles().make_folder(state)
    site.machine.give(state, user)
    manifest = found.manifest
    return Record(user, made, found.environment, target=manifest.target, runtime=manifest.runtime)


def _enrol(site: Site, environment: Path, joining: Joining, user: str, undo: ExitStack) -> Identity:
    site.say(f"enrolling at {joining.hub}")
    folder = site.at.state / "identity"
    if not folder.exists():
        undo.push(_remove_unless_unreachable(folder))
    got = enrol(environment, joining, site.at.state)
    site.machine.give(site.at.state, user)
    return got


def _make_service(site: Site, record: Record, undo: ExitStack) -> bool:
    """Write link, command and unit, have the agent start at every boot, and tell whether the unit is a new one."""
    at = site.at
    for path in (at.current, at.command, at.unit):
        if not path.is_symlink() and not path.exists():
            undo.callback(path.unlink, missing_ok=True)
    folder = at.environments / record.environment
    environments.switch(at, folder)
    at.command.parent.mkdir(parents=True, exist_ok=True)
    at.command.unlink(missing_ok=True)
    at.command.symlink_to(at.current / "bin/sprat-device")
    changed = service.write(site, service.text(site, folder, python=at.python, record=record))
    site.machine.systemctl("enable", UNIT_NAME)
    return changed


def _remove_unless_unreachable(folder: Path) -> Callable[[object, object, object], None]:
    """Remove a folder, but not when the hub's answer was lost: the token then is good for the key in it alone."""

    def leave(_kind: object, error: object, _trace: object) -> None:
        if not isinstance(error, HubUnreachable):
            shutil.rmtree(folder, ignore_errors=True)

    return leave


def _drop_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
