"""Where predictions go besides the hub: `[[outputs]]`. Each kind has options of its own; another kind's is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.board.settings.kinds import Kind, options_of, require_kind
from sprat_device.contract.errors import ContractError
from sprat_device.contract.ids import model_name

EVERY: Final = "every"
CHANGE: Final = "change"

_FILTER: Final = (
    "kind", "name", "model", "input", "labels", "min_confidence", "max_confidence", "on", "most_hz", "scores", "queue",
    "max_age_s",
)  # fmt: skip
_WAITS: Final = ("timeout_s",)

SINKS: Final[Mapping[str, Kind]] = {
    "stdout": Kind(),
    "file": Kind(("path",), ("max_bytes", "keep")),
    "mqtt": Kind(("topic",), ("host", "port", "username", "password_file", "qos", "retain", *_WAITS)),
    "webhook": Kind(("url",), ("headers", *_WAITS)),
    "command": Kind(("command",), _WAITS),
    "plugin": Kind(("plugin",), ("options",)),
}


def _model(raw: object) -> str:
    return model_name(raw) if raw else values.text(raw)


def _headers(raw: object) -> Mapping[str, Any]:
    """Accept a table of HTTP headers: words, with texts of one line."""
    found = values.table(raw)
    for name, value in found.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ContractError(f"found {name[:40]!r}, expected the name of an HTTP header")
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        if not (text.isprintable() and text.isascii() and text):
            # The value is not shown: it may be a secret.
            raise ContractError(f"expected one line of ASCII text for {name[:40]}")
    return found


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """One place where predictions go: `[[outputs]]`."""

    REQUIRED: ClassVar = ("kind",)

    kind: str = setting("stdout", values.choice(*SINKS), "where they go")
    name: str = setting("", values.name, "tells it from other outputs in events and logs")
    model: str = setting("", _model, "only predictions of this model; empty is all")
    input: str = setting("", values.name, "only those of this input; empty is all")
    labels: tuple[str, ...] = setting((), values.texts, "only these labels; empty is all")
    min_confidence: float = setting(0.0, values.number(0, 1), "of the label; less certain predictions are passed over")
    max_confidence: float = setting(1.0, values.number(0, 1), "of the label; more certain ones are passed over")
    on: str = setting(EVERY, values.choice(EVERY, CHANGE), "every prediction, or only one whose label is another")
    most_hz: float = setting(
        0.0, values.number(0, 100_000), "predictions a second, more are passed over; 0 is no limit"
    )
    scores: bool = setting(True, values.boolean, "tell all scores or values, not only the label")
    queue: int = setting(
        256, values.integer(1, 65_536), "predictions that may wait; then the oldest is dropped and counted"
    )
    max_age_s: float = setting(
        60.0, values.number(0.1, 86_400), "an older prediction is not given any more, but dropped"
    )
    path: str = setting("", values.text, "file of JSON lines")
    max_bytes: int = setting(1_048_576, values.integer(1024, 2**40), "of the file; then it is rotated")
    keep: int = setting(3, values.integer(0, 1000), "rotated files that are kept")
    host: str = setting("127.0.0.1", values.text, "of the local broker")
    port: int = setting(1883, values.integer(1, 65535), "of the local broker")
    topic: str = setting("", values.topic, "to publish to; {model}, {input} and {label} are filled in")
    qos: int = setting(0, values.integer(0, 1), "of a message")
    retain: bool = setting(False, values.boolean, "the broker keeps the last message")
    username: str = setting("", values.text, "at the local broker")
    password_file: str = setting("", values.text, "file that holds the password at the local broker")
    url: str = setting("", values.url("http", "https"), "http:// or https:// address that is posted to")
    headers: Mapping[str, Any] = field(
        default_factory=dict, hash=False, metadata={"read": _headers, "about": "further headers of a request"}
    )
    command: tuple[str, ...] = setting(
        (), values.texts, "program and arguments; no shell; {label} and others are filled in"
    )
    timeout_s: float = setting(5.0, values.number(0.1, 300), "for one prediction: a request, a message, a run")
    plugin: str = setting("", values.text, "name of an entry point in the group sprat.sinks")
    options: Mapping[str, Any] = field(
        default_factory=dict, hash=False, metadata={"read": values.table, "about": "what the plug-in is given"}
    )

    def shown(self) -> tuple[str, ...]:
        """Return the options that its kind has: the others mean nothing."""
        return options_of(self.kind, SINKS, _FILTER)

    @classmethod
    def require_given(cls, given: Mapping[str, object]) -> None:
        """Raise ValueError where the options given are not those of the kind."""
        require_kind(given, SINKS, _FILTER)
        low, high = given.get("min_confidence", 0.0), given.get("max_confidence", 1.0)
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"min_confidence {low:g} is above max_confidence {high:g}")
        if given.get("kind") == "command" and given.get("on") != CHANGE and not given.get("most_hz"):
            raise ValueError('a program for every prediction: set on = "change", or most_hz')
