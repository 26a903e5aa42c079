"""People and programs that use the hub: passwords (argon2), sessions of browsers, API tokens.

The store knows hashes only. A session gets a new id at each login and ends when idle; wrong passwords are counted per
name and address, and too many of them close that door for a while.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from sprat.errors import WrongUse
from sprat.hub.errors import NotLoggedIn, TooManyTries
from sprat.hub.store.fleet import FleetStore
from sprat.hub.store.rows import ApiToken, Login, Role, WebSession

IDLE_US: Final = 12 * 3600 * 1_000_000
TOUCH_US: Final = 60 * 1_000_000
"""A session's last use is written down at most this often."""
TRIES: Final = 5
TRIES_US: Final = 5 * 60 * 1_000_000
SHORTEST_PASSWORD: Final = 12
_DOORS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and what he may do; `csrf` is empty for a program with a token."""

    name: str
    role: Role
    csrf: str = ""


@dataclass(slots=True)
class People:
    """Logins, sessions and tokens over the store."""

    store: FleetStore
    now_us: Callable[[], int]
    _hasher: PasswordHasher = field(default_factory=PasswordHasher)
    _misses: dict[tuple[str, str], deque[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_login(self, name: str, password: str, role: Role, who: str) -> None:
        """Add a person, or change password and role."""
        if not name or len(name) > 63 or not name.isprintable():
            raise WrongUse(f"login {name[:80]!r}: expected 1 to 63 printable characters")
        if len(password) < SHORTEST_PASSWORD:
            raise WrongUse(f"password of {len(password)} characters; expected at least {SHORTEST_PASSWORD}")
        now_us = self.now_us()
        hashed = self._hasher.hash(password)
        with self.store.transaction():
            self.store.logins.put(Login(name, hashed, role, now_us))
            self.store.audit.add(who, "login.set", name, now_us, {"role": role})

    def log_in(self, name: str, password: str, address: str) -> tuple[str, Person]:
        """Return the cookie of a new session and who it is, or raise NotLoggedIn or TooManyTries."""
        now_us = self.now_us()
        door = (name[:63], address)
        self._require_open(door, now_us)
        login = self.store.logins.get(name)
        # An unknown name costs as much time as a wrong password, so that names cannot be found out.
        hashed = login.password if login else self._nobody()
        if not self._verified(hashed, password) or login is None:
            self._count_miss(door, now_us)
            self.store.audit.add(name[:63], "login.refused", address, now_us)
            raise NotLoggedIn("login", "name or password is wrong")
        secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self.store.transaction():
            self.store.web_sessions.remove_idle(now_us - IDLE_US)
            self.store.web_sessions.add(_sha256(secret), WebSession(name, login.role, csrf, now_us, now_us))
            self.store.audit.add(name, "login", address, now_us)
        return secret, Person(name, login.role, csrf)

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self.store.web_sessions.remove(_sha256(cookie))

    def by_cookie(self, cookie: str) -> Person | None:
        """Return whose session that is, unless it ended."""
        now_us = self.now_us()
        session = self.store.web_sessions.get(_sha256(cookie))
        if session is None or now_us - session.used_us > IDLE_US:
            return None
        if now_us - session.used_us > TOUCH_US:
            self.store.web_sessions.touch(_sha256(cookie), now_us)
        return Person(session.login, session.role, session.csrf)

    def make_token(self, name: str, role: Role, who: str) -> str:
        """Make an API token; it is shown this once."""
        secret = f"sprat_{secrets.token_urlsafe(32)}"
        now_us = self.now_us()
        with self.store.transaction():
            self.store.api_tokens.add(_sha256(secret), ApiToken(name, role, now_us))
            self.store.audit.add(who, "api-token.make", name, now_us, {"role": role})
        return secret

    def by_token(self, secret: str) -> Person | None:
        """Return whose token that is, unless it was revoked."""
        token = self.store.api_tokens.get(_sha256(secret))
        return Person(token.name, token.role) if token else None

    def _verified(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _nobody(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe(16))

    def _require_open(self, door: tuple[str, str], now_us: int) -> None:
        with self._lock:
            misses = self._misses.get(door, deque())
            while misses and now_us - misses[0] > TRIES_US:
                misses.popleft()
            if len(misses) >= TRIES:
                wait_s = (TRIES_US - (now_us - misses[0])) // 1_000_000
                raise TooManyTries("too-many-tries", f"{TRIES} wrong passwords; try again in {wait_s} s")

    def _count_miss(self, door: tuple[str, str], now_us: int) -> None:
        with self._lock:
            while len(self._misses) >= _DOORS:  # the oldest goes: memory stays bounded under a flood of names
                self._misses.pop(next(iter(self._misses)))
            self._misses.setdefault(door, deque(maxlen=TRIES)).append(now_us)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
