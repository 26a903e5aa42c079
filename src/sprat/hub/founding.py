"""`hub init`: makes the folder of a hub, with its CA, its certificates, its online key and the first ways in."""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sprat.errors import MachineLacks, WrongUse
from sprat.hub.broker import HUB_USER, INGEST_USER
from sprat.hub.fleet.identity import Authority, names_of
from sprat.hub.fleet.logins import People
from sprat.hub.folder import HubFolder, write_private
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rows import Role
from sprat.publish.keys import create_online_key

LOOPBACK: Final = ("127.0.0.1", "localhost")
_RENEW_BEFORE: Final = timedelta(days=90)
_DNS_NAME: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)
_NAMES_FACT: Final = "names"
_ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class Founded:
    """What is told once, when a hub was made."""

    folder: HubFolder
    login: str
    password: str


def found(root: Path, names: Sequence[str], now: datetime) -> Founded:
    """Make a hub in a folder that is empty or not there yet; nothing half-made is left behind."""
    checked = tuple(dict.fromkeys([*map(_name, names), *LOOPBACK]))
    folder = HubFolder(root.absolute())
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise WrongUse(f"{root}: not an empty folder; give another, or `sprat hub run {root}` if it is a hub")
    existed = root.exists()
    try:
        return _found(folder, checked, now)
    except BaseException:
        _remove(root, keep=existed)
        raise


def names(store: FleetStore) -> tuple[str, ...]:
    """Return the names of a hub, the one that devices are told first."""
    return tuple(json.loads(store.fact(_NAMES_FACT)))


def renew_certificates(folder: HubFolder, authority: Authority, wanted: Sequence[str], now: datetime) -> bool:
    """Make the hub's own certificates anew where they end soon or lack a name; True if it did."""
    _, ends = found_ = names_of(folder.pair("server"))
    if found_[0] == frozenset(wanted) and ends - now > _RENEW_BEFORE:
        return False
    _issue(folder, authority, wanted, now)
    return True


def _found(folder: HubFolder, wanted: tuple[str, ...], now: datetime) -> Founded:
    try:
        for part in (folder.root, *(folder.root / name for name in ("certs", "keys", "broker", "logs"))):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.root.chmod(0o700)
    except OSError as exc:
        raise MachineLacks(f"{folder.root}: {exc.strerror}; give a folder that you may write to") from exc
    authority = Authority.create(f"Sprat hub {wanted[0]}", now)
    authority.save(folder.authority)
    _issue(folder, authority, wanted, now)
    create_online_key(folder.online_key)
    password = secrets.token_urlsafe(12)
    with FleetStore(folder.fleet_db) as store:
        store.set_fact(_NAMES_FACT, json.dumps(wanted))
        store.incarnation()
        people = People(store, lambda: int(now.timestamp() * 1e6))
        people.set_login(_ADMIN, password, Role.ADMIN, "hub init")
        write_private(folder.admin_token, people.make_token(_ADMIN, Role.ADMIN, "hub init") + "\n")
    return Founded(folder, _ADMIN, password)


def _issue(folder: HubFolder, authority: Authority, wanted: Sequence[str], now: datetime) -> None:
    authority.issue_own("server", wanted, now, folder.pair("server"))
    for user in (HUB_USER, INGEST_USER):
        authority.issue_own(user, (), now, folder.pair(user))


def _name(text: str) -> str:
    name = text.strip().lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass  # then it must be a DNS name
    if _DNS_NAME.fullmatch(name) is None:
        raise WrongUse(f"name {text[:120]!r}: expected a DNS name or an IP address, without port and scheme")
    return name


def _remove(root: Path, *, keep: bool) -> None:
    if not root.is_dir():
        return
    if not keep:
        shutil.rmtree(root)
        return
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def utc_now() -> datetime:
    """Return the wall clock, for the composition's loops."""
    return datetime.now(UTC)
