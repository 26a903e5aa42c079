"""The agent's log: lines on standard error, which under systemd is the journal.

Rules: a line that repeats is counted after the first few, not written; secrets are taken out of every line before it
goes anywhere; the last lines are kept in memory, so that the hub may ask for them; a log that nobody reads costs lines,
which are counted, and never makes an inference wait. Level and format change at run time.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from sprat_device.board.stdio import LossyStream

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("plain", "pairs", "json")
BURST: Final = 5
WINDOW_S: Final = 60.0
"""So many lines of one source in so much time; what is more is counted."""
KEPT_LINES: Final = 200
_MOST_SOURCES: Final = 256
_MOST_CHARACTERS: Final = 4000
_REDACTED: Final = "[redacted]"
# https://man7.org/linux/man-pages/man3/sd-daemon.3.html: syslog's levels in angle brackets
_PRIORITY: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
_SECRETS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _REDACTED),
    (re.compile(r"\bsprat1\.[\w.~+/=-]+"), _REDACTED),
    (re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@"), rf"\1:{_REDACTED}@"),
    (re.compile(r"(?i)\b(authorization\W{1,4}(?:bearer|basic)?)\s*[\w.~+/=-]+"), rf"\1 {_REDACTED}"),
    (
        re.compile(r"(?i)([\"']?\b\w*(?:password|passwd|passphrase|secret|token|api_?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"),
        rf"\1{_REDACTED}",
    ),
)  # fmt: skip


def redact(text: str) -> str:
    """Take out what looks like a secret: private keys, enrolment tokens, passwords in addresses and in settings."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Tell whether a stream leads to the journal: systemd names its device and inode in JOURNAL_STREAM."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(facts.st_dev), str(facts.st_ino))


class Repeats:
    """Counts lines by source: the logger, the level and the sentence without its values."""

    def __init__(self, *, burst: int = BURST, window_s: float = WINDOW_S) -> None:
        self._burst = burst
        self._window_s = window_s
        self._seen: OrderedDict[tuple[str, int, str], tuple[float, int]] = OrderedDict()

    def take(self, source: tuple[str, int, str], now: float) -> tuple[bool, int]:
        """Return whether to write a line of `source`, and how many of the window before were left out."""
        since, times = self._seen.pop(source, (now, 0))
        left_out = 0
        if now - since >= self._window_s:
            since, times, left_out = now, 0, max(0, times - self._burst)
        self._seen[source] = (since, times + 1)
        if len(self._seen) > _MOST_SOURCES:
            self._seen.popitem(last=False)
        return times < self._burst, left_out


class LogHandler(logging.Handler):
    """Writes lines to a stream and keeps the last ones."""

    def __init__(
        self,
        stream: TextIO,
        *,
        journal: bool = False,
        format_: str = "plain",
        now: Callable[[], float] = time.monotonic,
        repeats: Repeats | None = None,
    ) -> None:
        super().__init__()
        self._stream = stream if isinstance(stream, LossyStream) else LossyStream(stream)
        self._unread = 0
        self._journal = journal
        self._format = format_
        self._now = now
        self._repeats = repeats or Repeats()
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is one too many of its kind."""
        try:
            written, left_out = self._repeats.take((record.name, record.levelno, str(record.msg)), self._now())
            if left_out:
                self._write(record, f"left out {left_out} more lines like: {record.msg}")
            if written:
                self._write(record, _sentence(record))
        # As every handler of the library: an error of logging is told by it and ends nothing.
        except Exception:  # noqa: BLE001
            self.handleError(record)

    def set_format(self, format_: str) -> None:
        """Write `plain`, `pairs` or `json` lines from now on."""
        self._format = format_

    def tail(self, lines: int) -> list[str]:
        """Return the last lines, the oldest first; secrets are out already."""
        return list(self._kept)[-lines:] if lines > 0 else []

    def _write(self, record: logging.LogRecord, sentence: str) -> None:
        said = redact(sentence)[:_MOST_CHARACTERS]
        self._kept.append(f"{_stamp(record)} {record.levelname} {said[:400]}")
        if not (self._told_unread() and self._said(self._line(record, said))):
            self._unread += 1

    def _told_unread(self) -> bool:
        """Tell how many lines did not go through; True if that went through, or if there were none."""
        if self._unread:
            told = logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"})
            if self._said(self._line(told, f"nobody took this log: {self._unread} left out")):
                self._unread = 0
        return not self._unread

    def _said(self, line: str) -> bool:
        try:
            return self._stream.say(line)
        except OSError:  # a full disk behind a file, a pipe whose reader has gone
            return False

    def _line(self, record: logging.LogRecord, said: str) -> str:
        line = _SHAPES[self._format](record, said, told_time=not self._journal)
        if self._journal:
            mark = f"<{next(number for level, number in _PRIORITY if record.levelno >= level)}>"
            line = "\n".join(mark + part for part in line.splitlines())
        return line + "\n"


def set_up(level: str, format_: str) -> LogHandler:
    """Make the one handler of this process."""
    stream = sys.stderr
    handler = LogHandler(stream, journal=to_journal(stream, os.environ), format_=format_)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    return handler


def log_event(logger: logging.Logger, level: int, what: str, said: str) -> None:
    """Log an event; `what` (its code, its input) is part of the sentence, so none is left out because of the others."""
    sentence = f"{what.replace('%', '%%')}: %s"
    logger.log(level, sentence, said)


def set_level(level: str) -> None:
    """Say more or less from now on."""
    logging.getLogger().setLevel(level.upper())


def _sentence(record: logging.LogRecord) -> str:
    sentence = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        sentence += "\n" + logging.Formatter().formatException(record.exc_info)
    return sentence


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + "Z"


def _plain(record: logging.LogRecord, sentence: str, *, told_time: bool) -> str:
    when = _stamp(record) + " " if told_time else ""
    return f"{when}{record.levelname} {record.name}: {sentence}"


def _fields(record: logging.LogRecord, sentence: str, *, told_time: bool) -> dict[str, str]:
    when = {"time": _stamp(record)} if told_time else {}
    thread = {"thread": record.threadName} if record.threadName not in {None, "MainThread"} else {}
    return when | {"level": record.levelname.lower(), "logger": record.name} | thread | {"msg": sentence}


def _pairs(record: logging.LogRecord, sentence: str, *, told_time: bool) -> str:
    fields = _fields(record, sentence, told_time=told_time)
    return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _json(record: logging.LogRecord, sentence: str, *, told_time: bool) -> str:
    return json.dumps(_fields(record, sentence, told_time=told_time), ensure_ascii=False)


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.:/+-]+", value) else json.dumps(value, ensure_ascii=False)


_SHAPES: Final = {"plain": _plain, "pairs": _pairs, "json": _json}
