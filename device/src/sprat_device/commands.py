"""What the hub may ask of an agent by command: a closed table, of which the board's owner allows a part.

A command that must not be done twice carries an id (MQTT's correlation data), which is on the disk before it is done: the
broker delivers a message again after a restart, and a restart asked for once must not become a loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ONCE: Final = frozenset({"restart"})
"""These need an id."""
_KEPT_IDS: Final = 64
_MOST_ID: Final = 64


class Once:
    """The ids of commands that were begun, the oldest first."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path

    def first(self, correlation: bytes) -> bool:
        """Keep an id durably; False if it was kept before. OSError if the disk does not take it."""
        known = self._known()
        if correlation.hex() in known:
            return False
        document = {"schema": "sprat.begun/1", "ids": [*known, correlation.hex()][-_KEPT_IDS:]}
        self._files.write_atomic(self._path, json.dumps(document).encode())
        return True

    def _known(self) -> list[str]:
        if not self._files.exists(self._path):
            return []
        try:
            found = json.loads(self._files.read(self._path))["ids"]
        except (ValueError, KeyError, TypeError):
            return []  # a damaged list costs at most one command done twice
        return [str(entry) for entry in found] if isinstance(found, list) else []


class Commands:
    """Answers commands from a table of handlers, which the agent wires."""

    def __init__(
        self, handlers: Mapping[str, Handler], *, allowed: Iterable[str] | None = None, once: Once | None = None
    ) -> None:
        self._handlers = dict(handlers)
        self._allowed = frozenset(handlers if allowed is None else allowed)
        self._once = once

    def allow(self, names: Iterable[str]) -> None:
        """Allow these from now on, and no others."""
        self._allowed = frozenset(names)

    def answer(self, name: str, payload: bytes, correlation: bytes = b"") -> bytes:
        """Run one command and return its reply; what is unknown, not allowed or malformed is answered, never raised."""
        try:
            result = self._run(name, json.loads(payload or b"{}"), correlation)
        except (ValueError, RecursionError, ContractError) as exc:
            return _reply(ok=False, detail=str(exc))
        except OSError as exc:
            return _reply(ok=False, detail=f"command {name}: not done, for the disk fails ({exc.strerror or exc})")
        return _reply(ok=True, result=dict(result))

    @staticmethod
    def refuse(name: str) -> bytes:
        """Return the reply to a command that came too late to be run."""
        return _reply(ok=False, detail=f"command {name}: not done, for the agent ends; ask again")

    def _run(self, name: str, arguments: object, correlation: bytes) -> Mapping[str, Any]:
        handler = self._handlers.get(name)
        if handler is None:
            raise ContractError(f"unknown command {name[:63]!r}; known: {', '.join(sorted(self._handlers))}")
        if name not in self._allowed:
            raise ContractError(f"command {name}: not allowed on this device; see remote.commands in its settings")
        if not isinstance(arguments, dict):
            raise ContractError(f"command {name}: expected a mapping of arguments")
        return handler(arguments) if name not in ONCE or self._first(name, correlation) else {"already": True}

    def _first(self, name: str, correlation: bytes) -> bool:
        if not 0 < len(correlation) <= _MOST_ID:
            raise ContractError(
                f"command {name}: found {len(correlation)} bytes of correlation data, expected 1 to {_MOST_ID}"
            )
        return self._once is None or self._once.first(correlation)


def whole(arguments: Mapping[str, Any], name: str, *, default: int, most: int) -> int:
    """Return a whole number of the arguments, from 1 to `most`."""
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ContractError(f"argument {name!r}: found {value!r}, expected a whole number from 1 to {most}")
    return value


def _reply(*, ok: bool, **fields: object) -> bytes:
    return json.dumps({"schema": "sprat.reply/1", "ok": ok, **fields}).encode()
