"""What the hub may ask of an agent by command: a closed table, each entry harmless by default.

A command that could change the board needs a local opt-in; none of that kind exists yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sprat_device.contract.errors import ContractError

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Commands:
    """Answers commands from a table of handlers, which the agent wires."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    def answer(self, name: str, payload: bytes) -> bytes:
        """Run one command and return its reply; what is unknown or malformed is answered, never raised."""
        handler = self._handlers.get(name)
        if handler is None:
            return _reply(ok=False, detail=f"unknown command {name[:63]!r}; known: {', '.join(sorted(self._handlers))}")
        try:
            arguments = json.loads(payload or b"{}")
            if isinstance(arguments, dict):
                return _reply(ok=True, result=dict(handler(arguments)))
            return _reply(ok=False, detail=f"command {name}: expected a mapping of arguments")
        except (ValueError, ContractError) as exc:
            return _reply(ok=False, detail=str(exc))


def _reply(*, ok: bool, **fields: object) -> bytes:
    return json.dumps({"schema": "sprat.reply/1", "ok": ok, **fields}).encode()
