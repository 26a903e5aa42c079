"""The agent's log: repeated lines are counted, secrets stay out, and the journal gets its priorities."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sprat_device.board import logs
from sprat_device.board.logs import LogHandler, Repeats, redact, to_journal


class Log:
    """A logger of its own with the handler under test, and a clock that a test moves."""

    def __init__(self, **how: object) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.handler = LogHandler(self.stream, now=lambda: self.now, **how)  # type: ignore[arg-type]
        self.logger = logging.Logger("sprat.test", logging.DEBUG)  # noqa: LOG001 - apart from the tree of the process
        self.logger.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_the_journal_gets_a_priority_on_every_line() -> None:
    log = Log(journal=True)
    log.logger.warning("careful")
    log.logger.debug("small")
    log.logger.error("broken", exc_info=ValueError("deep"))
    assert log.lines[:2] == ["<4>WARNING sprat.test: careful", "<7>DEBUG sprat.test: small"]
    assert log.lines[2] == "<3>ERROR sprat.test: broken"
    assert log.lines[-1] == "<3>ValueError: deep"
    assert all(line.startswith("<3>") for line in log.lines[2:])


def test_repeated_lines_are_counted_after_the_first_few_by_source() -> None:
    log = Log(journal=True)
    for i in range(20):
        log.logger.warning("sensor %d fails", i)
    log.logger.warning("something else")
    assert len(log.lines) == logs.BURST + 1
    log.now = logs.WINDOW_S
    log.logger.warning("sensor %d fails", 20)
    assert log.lines[-2:] == [
        "<4>WARNING sprat.test: left out 15 more lines like: sensor %d fails",
        "<4>WARNING sprat.test: sensor 20 fails",
    ]


def test_no_event_of_an_install_is_left_out_because_of_the_others() -> None:
    log = Log(journal=True)
    phases = [f"install-{phase}" for phase in ("fetching", "staged", "checked", "waits", "trial", "confirmed", "100%")]
    for phase in phases:
        logs.log_event(log.logger, logging.INFO, phase, "model door")
    assert log.lines == [f"<6>INFO sprat.test: {phase}: model door" for phase in phases]


def test_a_log_that_nobody_reads_costs_lines_and_no_time() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 16384)
    for end in (reading, writing):
        os.set_blocking(end, False)
    logger = logging.Logger("sprat.test", logging.DEBUG)  # noqa: LOG001 - apart from the tree of the process
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        handler = LogHandler(stream)
        logger.addHandler(handler)
        said = [f"{i} {'é' * 900}" for i in range(20)]
        for sentence in said:  # a write that waited would wait for ever: nobody reads
            logger.warning(sentence)
        first = os.read(reading, 65536).decode()
        logger.warning("read again")
        then = os.read(reading, 65536).decode()
    os.close(reading)
    lines = [line.split(": ", 1)[1] for line in (first + then).splitlines() if line]
    left_out = [int(line.split()[4]) for line in lines if line.startswith("nobody took this log: ")]
    assert left_out
    assert lines[-1] == "read again"
    assert sum(left_out) + sum(line in said for line in lines) == len(said)
    assert "\n\n" not in first + then, "nothing was begun, and so nothing had to be ended"
    assert len(handler.tail(100)) == len(said) + 1, "the hub may still ask for what nobody read"


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    logger = logging.Logger("sprat.test", logging.DEBUG)  # noqa: LOG001 - apart from the tree of the process
    with os.fdopen(writing, "w", encoding="utf-8") as stream, (tmp_path / "log").open("wb") as file:
        logger.addHandler(LogHandler(stream))
        for name in "abc":
            logger.warning(name)
        os.dup2(file.fileno(), writing)
        logger.warning("there is somebody")
    said = [line.split(": ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert said == ["nobody took this log: 3 left out", "there is somebody"]


def test_the_table_of_sources_is_bounded() -> None:
    repeats = Repeats()
    for i in range(10_000):
        assert repeats.take(("sprat", 30, f"source {i}"), 0.0) == (True, 0)
    assert len(repeats._seen) <= 256


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token sprat1.QUJDREVG.abc-def here", "QUJDREVG"),
        ("https://me:hunter2@hub.local/x", "hunter2"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("password = hunter2, next", "hunter2"),
        ('{"webhook_token": "hunter2"}', "hunter2"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----", "MHcCAQEE"),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEE cut off", "MHcCAQEE"),
    ],
)
def test_secrets_are_taken_out_of_lines_and_of_what_is_kept(text: str, secret: str) -> None:
    assert secret not in redact(text)
    log = Log()
    log.logger.error("got %s", text)
    assert secret not in log.stream.getvalue() + "".join(log.handler.tail(10))


def test_ordinary_lines_stay_as_they_are() -> None:
    for line in ("bundle 3f2a confirmed at 12:30", "https://hub.local:8443/x", "tokens are made by the hub"):
        assert redact(line) == line


def test_the_format_changes_at_run_time() -> None:
    log = Log(journal=True)
    log.handler.set_format("pairs")
    log.logger.info("a word")
    log.handler.set_format("json")
    log.logger.info('says "no"')
    assert log.lines[0] == '<6>level=info logger=sprat.test msg="a word"'
    assert json.loads(log.lines[1].removeprefix("<6>")) == {
        "level": "info", "logger": "sprat.test", "msg": 'says "no"',
    }  # fmt: skip


def test_outside_the_journal_a_line_has_its_time() -> None:
    log = Log()
    log.logger.info("hello")
    assert log.lines[0].endswith("Z INFO sprat.test: hello")


def test_the_tail_is_bounded_and_in_order() -> None:
    log = Log(repeats=Repeats(burst=10_000))
    for i in range(logs.KEPT_LINES + 5):
        log.logger.info("line %d", i)
    kept = log.handler.tail(10_000)
    assert (len(kept), log.handler.tail(2), log.handler.tail(0)) == (logs.KEPT_LINES, kept[-2:], [])
    assert kept[-1].endswith(f"line {logs.KEPT_LINES + 4}")


def test_the_journal_is_known_by_its_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        facts = os.fstat(stream.fileno())
        assert to_journal(stream, {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"})
        assert not to_journal(stream, {"JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino + 1}"})
        assert not to_journal(stream, {})
    assert not to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


@pytest.fixture
def root() -> Callable[[], int]:
    return lambda: logging.getLogger().level


def test_the_level_changes_at_run_time(root: Callable[[], int]) -> None:
    before = root()
    try:
        logs.set_level("error")
        assert root() == logging.ERROR
    finally:
        logging.getLogger().setLevel(before)
