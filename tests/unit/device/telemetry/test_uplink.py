"""The uplink over a transport of lists: order, windows, reconnects, and what strangers say."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.clock import ManualClock
from tests.spools import draft, open_spool
from tests.transports import ListTransport

from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import topics, twin
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import checksum
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.phases import Lane
from sprat_device.contract.topics import Kind
from sprat_device.contract.twin import Desired
from sprat_device.telemetry.hub_words import Command
from sprat_device.telemetry.pacing import RESEND_S
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import NO_SUBSCRIBERS, Lost, Message, Published
from sprat_device.telemetry.uplink import Uplink

DEVICE = DeviceId("d1")


@dataclass
class Bench:
    """An uplink and all around it."""

    spool: DiskSpool
    transport: ListTransport = field(default_factory=ListTransport)
    clock: ManualClock = field(default_factory=ManualClock)
    desired: list[Desired] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    clashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = TelemetrySettings(window_frames=4, backlog_bytes_per_s=0)
        self.uplink = Uplink(
            DEVICE, self.spool, self.transport, self.clock, settings,
            on_desired=self.desired.append, on_command=self.commands.append, on_clash=self.clashes.append,
            dice=lambda: 1.0,
        )  # fmt: skip

    def say(self, kind: Kind, payload: bytes, name: str = "", reply_to: str = "") -> None:
        self.transport.signals.append(Message(topics.topic(DEVICE, kind, name), payload, reply_to, b"c"))
        self.uplink.poll()

    def ack(
        self,
        *runs: tuple[int, int],
        lane: Lane = Lane.PREDICTIONS,
        epoch: int = 1,
        new_epoch: bool = False,
        frames: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.say(Kind.ACK, Ack(epoch, lane, runs, new_epoch, frames).dump())

    def checksum(self, seq: int) -> int:
        entry = self.spool.peek(1, Lane.PREDICTIONS, start=seq, stop=seq + 1)
        assert entry is not None
        return checksum(entry[1])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(open_spool(tmp_path))


def _fill(bench: Bench, times: int, lane: Lane = Lane.PREDICTIONS) -> None:
    for _ in range(times):
        bench.spool.append(draft(lane))


def test_events_and_live_frames_go_before_the_backlog(bench: Bench) -> None:
    _fill(bench, 5)
    bench.uplink.poll()
    assert bench.transport.frames() == [(Lane.PREDICTIONS, seq) for seq in (0, 1, 2)]
    _fill(bench, 1)
    _fill(bench, 1, Lane.EVENTS)
    bench.ack((0, 0))
    assert bench.transport.frames() == [(Lane.EVENTS, 0), (Lane.PREDICTIONS, 5)]
    bench.ack((1, 2))
    assert bench.transport.frames() == [(Lane.PREDICTIONS, 3)]
    bench.ack((0, 0), lane=Lane.EVENTS)
    assert bench.transport.frames() == [(Lane.PREDICTIONS, 4)]


def test_the_backlog_keeps_its_pace_and_live_frames_do_not_wait_for_it(bench: Bench) -> None:
    bench.uplink.configure(TelemetrySettings(window_frames=100, backlog_bytes_per_s=1000))
    _fill(bench, 40)
    size = len(bench.spool.peek(1, Lane.PREDICTIONS, start=0, stop=1)[1])  # type: ignore[index]
    bench.uplink.poll()
    sent = bench.transport.frames()
    for _ in range(3):
        bench.clock.advance(1)
        _fill(bench, 1)
        bench.uplink.poll()
        sent += bench.transport.frames()
    live = [seq for _lane, seq in sent if seq >= 40]
    backlog = [seq for _lane, seq in sent if seq < 40]
    assert live == [40, 41, 42]
    assert backlog == list(range(len(backlog)))
    assert 3000 / size <= len(backlog) <= 3000 / size + 4


def test_an_acked_frame_is_never_sent_again_and_an_unacked_one_is(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 2)
    bench.uplink.poll()
    assert len(bench.transport.frames()) == 2
    bench.ack((0, 0))
    bench.clock.advance(RESEND_S - 1)
    bench.uplink.poll()
    assert bench.transport.frames() == []
    bench.clock.advance(1.1)
    bench.uplink.poll()
    assert bench.transport.frames() == [(Lane.PREDICTIONS, 1)]


def test_a_puback_frees_nothing(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 1)
    bench.uplink.poll()
    bench.transport.signals.append(Published(len(bench.transport.published), 0, "Success"))
    bench.uplink.poll()
    assert bench.spool.ledger()[Lane.PREDICTIONS].spooled == 1


def test_a_reconnect_sends_what_waits_again(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 2)
    bench.uplink.poll()
    assert len(bench.transport.frames()) == 2
    bench.transport.signals.append(Lost("broken pipe"))
    bench.uplink.poll()
    assert not bench.uplink.connected
    bench.uplink.poll()
    assert bench.transport.connects == 1  # not before its delay
    bench.clock.advance(1.1)
    bench.uplink.poll()
    assert bench.transport.frames() == [(Lane.PREDICTIONS, 0), (Lane.PREDICTIONS, 1)]


def test_reconnects_come_ever_more_seldom_until_the_hub_acks(bench: Bench) -> None:
    bench.transport.reachable = False
    at: list[float] = []
    for second in range(64):
        before = bench.transport.connects
        bench.uplink.poll()
        if bench.transport.connects > before:
            at.append(second)
        bench.clock.advance(1)
    assert at == [0, 1, 3, 7, 15, 31, 63]


def _attempts(bench: Bench, seconds: int) -> list[int]:
    """Poll every second; return at which of them an attempt was made."""
    at = []
    for second in range(seconds):
        before = bench.transport.connects
        bench.uplink.poll()
        if bench.transport.connects > before:
            at.append(second)
        bench.clock.advance(1)
    return at


@pytest.mark.parametrize(("proof", "next_after"), [("ack", 1), ("steady", 1), ("", 16)])
def test_the_delays_begin_anew_after_an_ack_or_a_connection_that_held(
    bench: Bench, proof: str, next_after: int
) -> None:
    bench.transport.reachable = False
    assert _attempts(bench, 15) == [0, 1, 3, 7]
    bench.transport.reachable = True
    bench.uplink.poll()
    assert bench.uplink.connected
    if proof == "ack":
        bench.ack((0, 0))
    elif proof == "steady":
        bench.clock.advance(31)
    bench.transport.signals.append(Lost("gone"))
    bench.uplink.poll()
    assert _attempts(bench, 20) == [next_after]


def test_a_broker_that_never_answers_is_left_and_tried_again(bench: Bench) -> None:
    bench.uplink.poll()
    bench.transport.signals.append(Lost("gone"))
    bench.uplink.poll()
    bench.clock.advance(1)
    bench.transport.mute = True
    attempts = _attempts(bench, 60)
    assert attempts[0] == 0
    assert len(attempts) == 3
    assert not bench.uplink.connected
    bench.transport.mute = False
    _attempts(bench, 60)
    assert bench.uplink.connected


def test_without_the_hub_at_the_broker_the_device_is_quiet(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 8)
    bench.uplink.poll()
    assert len(bench.transport.frames()) == 4
    for mid in range(2, 6):
        bench.transport.signals.append(Published(mid, NO_SUBSCRIBERS, "No matching subscribers"))
    bench.uplink.poll()
    bench.clock.advance(1)
    bench.uplink.poll()
    assert bench.transport.frames() == []
    bench.clock.advance(1.1)
    bench.uplink.poll()
    assert len(bench.transport.frames()) == 4


def test_a_new_epoch_is_begun_once(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 2)
    bench.uplink.poll()
    for _ in range(2):
        bench.ack((0, 1), new_epoch=True)
    assert bench.spool.logs()[-1].epoch == 2
    _fill(bench, 1)
    bench.transport.frames()
    bench.uplink.poll()
    assert bench.transport.frames() == [(Lane.PREDICTIONS, 0)]


def test_an_ack_frees_what_it_names_and_nothing_of_another_device(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 3)
    bench.uplink.poll()
    own = [bench.checksum(seq) for seq in range(3)]
    bench.ack((0, 1), frames=((0, own[0]), (1, own[1] ^ 1)))
    assert bench.spool.ledger()[Lane.PREDICTIONS].spooled == 0  # a new epoch: the old one's frames wait beside it
    assert bench.spool.logs()[-1].epoch == 2
    assert bench.spool.peek(1, Lane.PREDICTIONS, start=0, stop=9) is not None
    assert bench.spool.peek(1, Lane.PREDICTIONS, start=0, stop=1) is None
    bench.ack((1, 1), frames=((1, own[1]), (1, own[1] ^ 1)))  # both came to the hub, and both are kept there
    assert bench.spool.peek(1, Lane.PREDICTIONS, start=1, stop=2) is None
    assert bench.spool.logs()[-1].epoch == 2
    assert bench.clashes == ["the hub has frames of another device under this spool's epoch"]


def test_an_ack_for_what_was_never_made_here_begins_a_new_epoch(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 1)
    bench.ack((0, 0), frames=((0, bench.checksum(0)),))
    bench.ack((0, 0), frames=((0, 7),))  # freed already: no longer ours to judge
    assert bench.spool.logs()[-1].epoch == 1
    bench.ack((1, 1), frames=((1, 7),))
    assert bench.spool.logs()[-1].epoch == 2


def test_frames_of_an_earlier_connection_are_checked_on_the_disk(bench: Bench) -> None:
    bench.uplink.poll()
    _fill(bench, 1)
    bench.uplink.poll()
    bench.transport.signals.append(Lost("gone"))
    bench.uplink.poll()
    bench.ack((0, 0), frames=((0, bench.checksum(0)),))  # the broker kept it for us
    assert bench.spool.ledger()[Lane.PREDICTIONS].acked == 1


def test_a_device_whose_name_another_takes_leaves_it_a_while(bench: Bench) -> None:
    delays = []
    for _ in range(6):
        bench.uplink.poll()
        bench.transport.signals.append(Lost("Session taken over", taken_over=True))
        bench.uplink.poll()
        connects, began = bench.transport.connects, bench.clock.monotonic_us()
        while bench.transport.connects == connects:
            bench.clock.advance(1)
            bench.uplink.poll()
        delays.append((bench.clock.monotonic_us() - began) / 1e6)
    assert delays == [30, 60, 120, 240, 300, 300]
    assert bench.clashes == ["another client came to the broker under this device's name"]
    bench.clock.advance(3600)
    bench.transport.signals.append(Lost("Session taken over", taken_over=True))
    bench.uplink.poll()
    assert len(bench.clashes) == 2  # told again, once an hour
    bench.clock.advance(30)
    bench.uplink.poll()
    assert bench.uplink.connected  # after a long while alone it is a matter of seconds again


def test_live_is_the_newest_of_each_input_and_nothing_without_a_connection(bench: Bench) -> None:
    bench.uplink.publish_live("a", b"never")
    bench.uplink.poll()
    bench.uplink.poll()
    for document in (b"a1", b"a2"):
        bench.uplink.publish_live("a", document)
    bench.uplink.publish_live("b", b"b1")
    bench.uplink.poll()
    bench.uplink.poll()
    assert bench.transport.take(Kind.LIVE) == [b"a2", b"b1"]


def test_the_reported_twin_is_published_now_and_after_each_connect(bench: Bench) -> None:
    bench.uplink.publish_reported(b"one")
    bench.uplink.poll()
    bench.uplink.poll()
    bench.transport.signals.append(Lost("gone"))
    bench.uplink.poll()
    bench.clock.advance(2)
    bench.uplink.poll()
    wanted = topics.topic(DEVICE, Kind.REPORTED)
    assert [payload for topic, payload in bench.transport.published if topic == wanted] == [b"one", b"one"]
    assert topics.ack(DEVICE) in bench.transport.subscribed


def test_a_connection_that_breaks_while_sending_is_one_that_is_down(bench: Bench) -> None:
    bench.uplink.poll()
    bench.transport.reachable = False
    _fill(bench, 1)
    bench.uplink.poll()
    assert not bench.uplink.connected
    assert bench.spool.ledger()[Lane.PREDICTIONS].spooled == 1


def test_a_command_and_its_reply_outlive_a_connection_that_breaks(bench: Bench) -> None:
    bench.uplink.poll()
    reply_to = topics.topic(DEVICE, Kind.REPLY, "r")
    bench.transport.reachable = False
    bench.uplink.publish_reported(b"so it is")  # breaks the connection
    bench.uplink.poll()
    bench.transport.signals.append(Message(topics.topic(DEVICE, Kind.COMMAND, "ping"), b"", reply_to, b"c"))
    bench.uplink.poll()
    (command,) = bench.commands
    bench.transport.reachable = True
    bench.clock.advance(10)
    bench.uplink.poll()
    bench.transport.reachable = False
    bench.uplink.publish_reply(command, b"pong")
    bench.uplink.poll()  # breaks again, by the reply itself
    assert not bench.uplink.connected
    bench.transport.reachable = True
    bench.clock.advance(60)
    bench.uplink.poll()
    assert [payload for topic, payload in bench.transport.published if topic == reply_to] == [b"pong"]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[", b"\xff", b'{"schema":"sprat.ack/2"}'])
@pytest.mark.parametrize("kind", [Kind.ACK, Kind.DESIRED])
def test_what_cannot_be_read_is_ignored(bench: Bench, kind: Kind, payload: bytes) -> None:
    bench.uplink.poll()
    bench.say(kind, payload)
    assert bench.uplink.connected
    assert bench.desired == []


def test_desired_and_commands_reach_the_agent_and_replies_go_home(bench: Bench) -> None:
    bench.uplink.poll()
    bench.say(Kind.DESIRED, twin.Desired("i", 4).dump())
    bench.say(Kind.COMMAND, b"now", "ping", topics.topic(DEVICE, Kind.REPLY, "r"))
    bench.say(Kind.COMMAND, b"now", "ping", topics.topic(DeviceId("d2"), Kind.REPLY, "r"))
    bench.say(Kind.COMMAND, b"now", "ping", "")
    assert [desired.version for desired in bench.desired] == [4]
    (command,) = bench.commands
    assert (command.name, command.payload) == ("ping", b"now")
    bench.uplink.publish_reply(command, b"pong")
    bench.uplink.poll()
    assert (topics.topic(DEVICE, Kind.REPLY, "r"), b"pong") in bench.transport.published


@pytest.mark.parametrize("ail", [errno.EMFILE, errno.ENOMEM])
def test_a_frame_that_cannot_be_read_at_the_moment_is_not_lost(tmp_path: Path, ail: int) -> None:
    class Short(OsFiles):
        out = False

        def open_read(self, path: Path) -> BinaryIO:
            if self.out:
                raise OSError(ail, os.strerror(ail))
            return super().open_read(path)

    files = Short()
    bench = Bench(open_spool(tmp_path, files))
    _fill(bench, 3)
    for _ in range(2):  # sent for the first time, and again after the hub's silence
        files.out = True
        bench.clock.advance(25)
        bench.uplink.poll()
        assert bench.transport.frames() == []
        files.out = False
        bench.uplink.poll()
        assert bench.transport.frames() == [(Lane.PREDICTIONS, seq) for seq in range(3)]
    bench.ack((0, 2))
    report = bench.spool.ledger()[Lane.PREDICTIONS]
    assert (report.acked, report.damaged, report.balanced()) == (report.produced, 0, True)
