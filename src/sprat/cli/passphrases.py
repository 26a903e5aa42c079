"""Where the passphrase of the signing keys comes from: `SPRAT_KEY_PASSPHRASE`, else a question on the terminal."""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

from sprat.errors import WrongUse

VARIABLE: Final = "SPRAT_KEY_PASSPHRASE"


class Asked:
    """Gives one passphrase for every key, and asks for it once."""

    def __init__(self, *, new: bool = False) -> None:
        self._new = new
        self._known: str | None = os.environ.get(VARIABLE)

    def __call__(self, name: str) -> str:
        """Return the passphrase of a key."""
        if self._known is None:
            self._known = self._ask(name)
        if not self._known:
            raise WrongUse(f"key {name}: an empty passphrase protects nothing; set {VARIABLE} or use --unencrypted")
        return self._known

    def _ask(self, name: str) -> str:
        if not sys.stdin.isatty():
            raise WrongUse(f"key {name} needs a passphrase and there is no terminal to ask on; set {VARIABLE}")
        text = "Passphrase for the new signing keys" if self._new else f"Passphrase of key {name}"
        return str(typer.prompt(text, hide_input=True, confirmation_prompt=self._new, err=True))


def unencrypted(_name: str) -> str:
    """Give no passphrase: the keys are protected by their file mode alone."""
    return ""
