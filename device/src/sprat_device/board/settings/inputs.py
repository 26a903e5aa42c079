"""Where readings come from: `[[inputs]]`. Each kind has options of its own; another kind's option is refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.board.settings.kinds import Kind, options_of, require_kind
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.ids import model_name

FORMATS: Final = ("json", "csv", "raw")
PIXELS: Final = ("rgb24", "bgr24", "gray8", "yuv420")
DTYPES: Final = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")


_EVERY: Final = ("model", "kind", "name")
_WATCHED: Final = ("stalled_after_s", "most_hz")
_WINDOW: Final = ("window", "hop", "window_s", "hop_s", "resample_hz", "max_gap_s", "channels")
_FIELDS: Final = ("format", "columns", "time_field")
_RECORDS: Final = ("dtype", "shape", "pixels", "width", "height")
_STREAM: Final = (*_WATCHED, *_FIELDS, *_RECORDS, *_WINDOW, "newest")

SOURCES: Final[Mapping[str, Kind]] = {
    "replay": Kind(("path",), ("rate_hz", "loop", *_WINDOW)),
    "stdin": Kind((), _STREAM),
    "file": Kind(("path",), (*_WATCHED, *_FIELDS, "from_start", *_WINDOW)),
    "folder": Kind(("path",), (*_WATCHED, *_RECORDS, "time_field", *_WINDOW)),
    "mqtt": Kind(
        ("topic",),
        (*_WATCHED, *_FIELDS, *_RECORDS, *_WINDOW, "host", "port", "username", "password_file", "qos", "queue"),
    ),
    "command": Kind(("command",), _STREAM),
    "serial": Kind(("path",), (*_STREAM, "baud")),
    "plugin": Kind(("plugin",), (*_WATCHED, "options", "queue", *_WINDOW)),
    "serve": Kind(),
    "http": Kind(),
}


@dataclass(frozen=True, slots=True)
class InputSettings:
    """One source of inputs: `[[inputs]]`."""

    REQUIRED: ClassVar = ("model", "kind")

    model: str = setting("", model_name, "the model that it feeds")
    kind: str = setting("", values.choice(*SOURCES), "what it reads")
    path: str = setting("", values.text, "file, folder or serial device")
    rate_hz: float = setting(0.0, values.number(0, 100_000), "inputs a second of a replay; 0 is as fast as they come")
    loop: bool = setting(False, values.boolean, "begin a replay again at its end")
    name: str = setting("", values.name, "tells it from other inputs of the same model; empty for the only one")
    format: str = setting(
        "json", values.choice(*FORMATS), "of what comes: JSON, comma-separated, or records of one size"
    )
    columns: tuple[str, ...] = setting((), values.texts, "names of the cells of a line without a header")
    time_field: str = setting("", values.text, "field with a sample's own time in seconds, for windows")
    dtype: str = setting("", values.choice("", *DTYPES), "of raw records; empty is the model's")
    shape: tuple[int, ...] = setting((), values.integers(1, 2**24), "of raw records; empty is the model's")
    pixels: str = setting("", values.choice("", *PIXELS), "of raw frames, with width and height")
    width: int = setting(0, values.integer(0, 16_384), "of raw frames")
    height: int = setting(0, values.integer(0, 16_384), "of raw frames")
    newest: bool = setting(False, values.boolean, "pass over what waits, for the newest")
    from_start: bool = setting(False, values.boolean, "read what a file already holds when it is first seen")
    host: str = setting("127.0.0.1", values.text, "of the local broker")
    port: int = setting(1883, values.integer(1, 65535), "of the local broker")
    topic: str = setting("", values.topic_filter, "to subscribe to; + and # are allowed")
    qos: int = setting(0, values.integer(0, 1), "of the subscription")
    username: str = setting("", values.text, "at the local broker")
    password_file: str = setting("", values.text, "file that holds the password at the local broker")
    queue: int = setting(256, values.integer(1, 65_536), "items that may wait; then the oldest is dropped and counted")
    command: tuple[str, ...] = setting((), values.texts, "program and arguments, whose output is read; no shell")
    baud: int = setting(115_200, values.integer(50, 4_000_000), "of the serial line")
    plugin: str = setting("", values.text, "name of an entry point in the group sprat.sources")
    options: Mapping[str, Any] = field(
        default_factory=dict, hash=False, metadata={"read": values.table, "about": "what the plug-in is given"}
    )
    stalled_after_s: float = setting(0.0, values.number(0, 604_800), "silence that is told as stalled; 0 is never")
    most_hz: float = setting(
        0.0, values.number(0, 100_000), "items a second, more are dropped and counted; 0 is no limit"
    )
    window: int = setting(0, values.integer(0, 1_000_000), "rows of a window; 0 is the model's")
    hop: int = setting(
        0, values.integer(0, 1_000_000), "rows from one window to the next; 0 is the model's, or its length"
    )
    window_s: float = setting(0.0, values.number(0, 86_400), "instead of window, with resample_hz")
    hop_s: float = setting(0.0, values.number(0, 86_400), "instead of hop, with resample_hz")
    resample_hz: float = setting(
        0.0, values.number(0, 100_000), "rows a second, interpolated; 0 takes samples as they come"
    )
    max_gap_s: float = setting(
        0.0, values.number(0, 86_400), "a longer gap begins a new window; 0: see docs/sources.md"
    )
    channels: tuple[str, ...] = setting((), values.texts, "fields of a sample in the order of the model's features")

    def shown(self) -> tuple[str, ...]:
        """Return the options that its kind has: the others mean nothing."""
        return options_of(self.kind, SOURCES, _EVERY)

    @classmethod
    def require_given(cls, given: Mapping[str, object]) -> None:
        """Raise ValueError where the options given are not those of the kind."""
        require_kind(given, SOURCES, _EVERY)
        if 0 < _number(given.get("stalled_after_s")) < 1:
            raise ValueError("'stalled_after_s' is at least 1, or 0 for never")
        _require_raw(given)
        _require_window(given)


def _require_raw(given: Mapping[str, object]) -> None:
    if given.get("format") == "raw" and given.get("kind") == "file":
        raise ValueError("a file is read line by line, which 'format' raw has not: json or csv")
    raw = given.get("format") == "raw" or given.get("kind") == "folder"
    for option in _RECORDS:
        if given.get(option) and not raw:
            raise ValueError(f'{option!r} is of raw records: set format = "raw"')
    sized = bool(given.get("width")) and bool(given.get("height"))
    if bool(given.get("pixels")) != sized:
        raise ValueError("'pixels', 'width' and 'height' go together")
    if given.get("pixels") and (given.get("dtype") or given.get("shape")):
        raise ValueError("'pixels' says what a record is; leave 'dtype' and 'shape' out")
    if given.get("pixels") == "yuv420" and (_whole(given["width"]) % 2 or _whole(given["height"]) % 2):
        raise ValueError("'pixels' yuv420 needs an even width and height")


def _require_window(given: Mapping[str, object]) -> None:
    for one in ("window", "hop"):
        if given.get(one) and given.get(f"{one}_s"):
            raise ValueError(f"{one!r} and '{one}_s' say the same; leave one out")
        if given.get(f"{one}_s") and not given.get("resample_hz"):
            raise ValueError(f"'{one}_s' needs 'resample_hz', the rows of a second")
    if given.get("newest") and any(given.get(one) for one in ("window", "window_s")):
        raise ValueError("'newest' leaves samples out, so no window can be made of the rest")


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def require_distinct(inputs: Iterable[InputSettings], came_from: str) -> None:
    """Raise WrongUse where two inputs of one model could not be told apart, or would take each other's readings."""
    inputs = tuple(inputs)
    for (model, name), times in Counter((entry.model, entry.name) for entry in inputs).items():
        if times > 1:
            raise WrongUse(
                f"inputs ({came_from}): model {model!r} has {times} inputs named {name!r}; give each a name of its own"
            )
    if (readers := sum(entry.kind == "stdin" for entry in inputs)) > 1:
        raise WrongUse(f"inputs ({came_from}): {readers} of them read stdin, expected one: each would miss lines")
