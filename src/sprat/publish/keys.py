"""Signing keys: one folder with a `keys.json` that names them and, beside it, their files.

A private key is an Ed25519 PEM file, mode 0600, encrypted unless its owner says otherwise. Any other kind of key is
named by a securesystemslib URI (`hsm:…`, `gcpkms:…`) in `keys.json`. The hub's online key, which signs snapshot and
timestamp only, is a file of its own and not encrypted: the hub must restart without people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from sprat.errors import MachineLacks, WrongUse
from sprat_device.contract.fields import Fields, text

SCHEMA: Final = "sprat.keys/1"
INDEX: Final = "keys.json"
CHANNELS: Final = ("canary", "beta", "stable")
OFFLINE_ROLES: Final = ("root", "targets", *CHANNELS)
STRICT: Final = {"root": (2, 3), "targets": (2, 3), "canary": (1, 2), "beta": (1, 2), "stable": (2, 3)}
"""Role -> threshold and number of keys."""
SIMPLE: Final = dict.fromkeys(STRICT, (1, 1))
DEFAULT_FOLDER: Final = Path("~/.config/sprat/keys")

Passphrase = Callable[[str], str]
"""Key name -> its passphrase; an empty one means that the key is not encrypted."""


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """How many of which keys sign a role."""

    threshold: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedKey:
    """The public half of a key and where the private half is."""

    uri: str
    public: Key


class KeyFolder:
    """The keys of one publisher; private halves are opened only to sign."""

    def __init__(self, folder: Path, roles: Mapping[str, RoleKeys], keys: Mapping[str, NamedKey]) -> None:
        self.folder = folder
        self.roles = dict(roles)
        self.keys = dict(keys)

    @classmethod
    def create(cls, folder: Path, *, passphrase: Passphrase, simple: bool = False) -> KeyFolder:
        """Make every key of the offline roles; refuses to touch a folder that has keys already."""
        if (folder / INDEX).exists():
            raise WrongUse(f"{folder} holds keys already; name another folder with --keys")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        roles, keys = {}, {}
        for role, (threshold, count) in (SIMPLE if simple else STRICT).items():
            names = tuple(f"{role}-{number}" for number in range(1, count + 1))
            roles[role] = RoleKeys(threshold, names)
            for name in names:
                public = _write_private(folder / f"{name}.pem", passphrase(name))
                keys[name] = NamedKey(f"file:{name}.pem", public)
        made = cls(folder, roles, keys)
        _write_new(folder / INDEX, made.describe(), mode=0o600)
        return made

    @classmethod
    def load(cls, folder: Path) -> KeyFolder:
        """Read `keys.json`."""
        try:
            raw = json.loads((folder / INDEX).read_bytes())
        except FileNotFoundError as exc:
            raise MachineLacks(f"no signing keys in {folder}; make them with: sprat keys init") from exc
        except ValueError as exc:
            raise WrongUse(f"{folder / INDEX} is not JSON ({exc}); restore it from your copy") from exc
        fields = Fields(raw, INDEX)
        fields.schema(SCHEMA)
        roles = fields.mapping("roles", _role)
        keys = fields.mapping("keys", _key)
        unknown = {name for role in roles.values() for name in role.names} - keys.keys()
        if unknown:
            raise WrongUse(f"{folder / INDEX}: role names the key {min(unknown)!r}, which is not listed under keys")
        return cls(folder, roles, keys)

    def describe(self) -> bytes:
        """Encode the public index."""
        document = {
            "schema": SCHEMA,
            "roles": {
                name: {"threshold": role.threshold, "keys": list(role.names)} for name, role in self.roles.items()
            },
            "keys": {name: {"uri": key.uri, "public": public_document(key.public)} for name, key in self.keys.items()},
        }
        return json.dumps(document, indent=1).encode()

    def publics(self, role: str) -> tuple[int, tuple[Key, ...]]:
        """Return the threshold and the public keys of a role."""
        found = self._role(role)
        return found.threshold, tuple(self.keys[name].public for name in found.names)

    def signers(self, role: str, *, passphrase: Passphrase) -> list[Signer]:
        """Open as many private keys of a role as its threshold needs; fewer where fewer are on this machine."""
        found = self._role(role)
        here = [name for name in found.names if self._is_here(self.keys[name].uri)]
        if not here:
            raise MachineLacks(f"no private key of role {role} in {self.folder}; run this where the key is")
        return [self._open(name, passphrase) for name in here[: found.threshold]]

    def _role(self, role: str) -> RoleKeys:
        if role not in self.roles:
            raise WrongUse(f"no keys for role {role!r} in {self.folder}; it has {', '.join(self.roles)}")
        return self.roles[role]

    def _is_here(self, uri: str) -> bool:
        return not uri.startswith("file:") or (self.folder / uri.removeprefix("file:")).exists()

    def _open(self, name: str, passphrase: Passphrase) -> Signer:
        key = self.keys[name]
        if key.uri.startswith("file:"):
            return _open_file(self.folder / key.uri.removeprefix("file:"), key.public, lambda: passphrase(name))
        try:
            return Signer.from_priv_key_uri(key.uri, key.public, passphrase)
        except (UnsupportedLibraryError, ValueError, OSError) as exc:
            raise MachineLacks(f"key {name} ({key.uri}): cannot be opened here ({exc})") from exc


def create_online_key(path: Path) -> dict[str, Any]:
    """Make the hub's online key and return its public document."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return public_document(_write_private(path, ""))


def online_signer(path: Path) -> Signer:
    """Open the hub's online key."""
    try:
        return CryptoSigner(_load_private(path, None))
    except FileNotFoundError as exc:
        raise MachineLacks(f"no online key at {path}; make it with: sprat hub init") from exc


def public_document(key: Key) -> dict[str, Any]:
    """Return a public key as a plain mapping, its id included."""
    return {"keyid": key.keyid, **key.to_dict()}


def parse_public(raw: object, where: str = "public key") -> Key:
    """Read what `public_document` wrote, or raise WrongUse."""
    if not isinstance(raw, Mapping):
        raise WrongUse(f"{where}: found {type(raw).__name__}, expected a mapping")
    fields = dict(raw)
    try:
        return Key.from_dict(fields.pop("keyid"), fields)
    except (KeyError, TypeError, ValueError) as exc:
        raise WrongUse(f"{where}: not a public key ({exc!r})") from exc


def _role(raw: object, where: str) -> RoleKeys:
    fields = Fields(raw, where)
    names = fields.items("keys", text)
    return RoleKeys(fields.integer("threshold", minimum=1, maximum=len(names)), names)


def _key(raw: object, where: str) -> NamedKey:
    fields = Fields(raw, where)
    return NamedKey(fields.text("uri"), fields.value("public", lambda value: parse_public(value, where)))


def _write_private(path: Path, passphrase: str) -> Key:
    private = Ed25519PrivateKey.generate()
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    _write_new(path, pem, mode=0o600)
    return SSlibKey.from_crypto(private.public_key())


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    # O_EXCL: a key that exists is never overwritten, whatever the caller believes.
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as exc:
        raise WrongUse(f"{path} exists already; move it away first") from exc
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _open_file(path: Path, public: Key, passphrase: Callable[[], str]) -> Signer:
    try:
        private = _load_private(path, None)
    except TypeError:  # cryptography's word for "encrypted, and no passphrase given"
        try:
            private = _load_private(path, passphrase().encode())
        except ValueError as exc:
            raise WrongUse(f"{path}: wrong passphrase; set SPRAT_KEY_PASSPHRASE or type it again") from exc
    except ValueError as exc:
        raise WrongUse(f"{path}: not a private key in PEM ({exc})") from exc
    signer = CryptoSigner(private)
    if signer.public_key.keyid != public.keyid:
        raise WrongUse(f"{path}: not the key that {INDEX} names; restore the right file")
    return signer


def _load_private(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    private = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    if not isinstance(private, Ed25519PrivateKey):
        raise WrongUse(f"{path}: found a {type(private).__name__}, expected an Ed25519 key")
    return private
