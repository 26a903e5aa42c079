"""Moves frames to the hub and the hub's words to the agent, over connections that come and go.

A frame leaves the spool only by the hub's ack after its commit; a PUBACK frees nothing. `on_desired` and `on_command`
are called in the uplink's thread and must only enqueue.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from sprat_device.board.clock import Clock
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import topics
from sprat_device.contract.acks import Ack
from sprat_device.contract.errors import ContractError, HubUnreachable
from sprat_device.contract.ids import DeviceId
from sprat_device.contract.twin import Desired
from sprat_device.telemetry import hub_words
from sprat_device.telemetry.hub_words import Command
from sprat_device.telemetry.link import Link
from sprat_device.telemetry.own_words import OwnWords
from sprat_device.telemetry.pacing import Key
from sprat_device.telemetry.sending import Sending
from sprat_device.telemetry.spool import Spool
from sprat_device.telemetry.transport import (
    NO_SUBSCRIBERS,
    Connected,
    Lost,
    Message,
    Published,
    Signal,
    Subscribed,
    Transport,
    Woken,
)

_WAIT_S: Final = 0.25
_TELL_CLASH_S: Final = 3600.0
_log: Final = logging.getLogger(__name__)


class Uplink:
    """The loop between spool, transport and agent; `publish_*` may be called from any thread."""

    def __init__(
        self,
        device: DeviceId,
        spool: Spool,
        transport: Transport,
        clock: Clock,
        settings: TelemetrySettings,
        *,
        on_desired: Callable[[Desired], None],
        on_command: Callable[[Command], None],
        on_clash: Callable[[str], None] = lambda _why: None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._device = device
        self._spool = spool
        self._transport = transport
        self._clock = clock
        self._on_desired = on_desired
        self._on_command = on_command
        self._on_clash = on_clash
        self._dice = dice
        self._sending = Sending(
            spool, window_frames=settings.window_frames, backlog_bytes_per_s=settings.backlog_bytes_per_s
        )
        self._link = Link()
        self._words = OwnWords(device, transport)
        self._clash_told_at = -_TELL_CLASH_S
        self._frames_sent: dict[int, Key] = {}
        self._stopping = threading.Event()
        self.beats = 0
        """Rises with every round: a count that stands still hangs."""
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)

    @property
    def connected(self) -> bool:
        """Tell whether the broker has taken us."""
        return self._link.up

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs; a defect that ended it is in the log, and the agent should restart."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start moving."""
        self._thread.start()

    def configure(self, settings: TelemetrySettings) -> None:
        """Take a changed window and pace."""
        self._sending.configure(window_frames=settings.window_frames, backlog_bytes_per_s=settings.backlog_bytes_per_s)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Say goodbye and stop; what waits stays in the spool. False if the connection holds the thread longer."""
        self._stopping.set()
        self._transport.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def publish_reported(self, document: bytes) -> None:
        """Publish the reported twin, now and after each connect until there is a newer one."""
        self._words.report(document)
        self._transport.wake()

    def publish_reply(self, command: Command, payload: bytes) -> None:
        """Answer a command, now or with the next connection."""
        self._words.reply(command, payload)
        self._transport.wake()

    def publish_live(self, name: str, document: bytes) -> None:
        """Mention the newest prediction of an input; without a connection nobody hears of it."""
        if self._link.up:
            self._words.mention(name, document)
            self._transport.wake()

    def poll(self, wait_s: float = 0.0) -> None:
        """Do one round: (re)connect, take in what came within `wait_s`, send what may go."""
        now = self._now()
        if self._link.due(now):
            self._connect(now)
        elif self._link.unanswered(now):
            self._down("no answer to CONNECT")
        signal = self._transport.receive(wait_s)
        try:
            while signal is not None:
                self._take(signal)
                signal = self._transport.receive(0)
            if self._link.up:
                self._send()
        except HubUnreachable as exc:
            self._down(str(exc))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.poll(_WAIT_S)
            self.beats += 1
        if self._link.up:
            try:
                self._words.say_goodbye()
            except HubUnreachable as exc:
                _log.info("uplink: no goodbye (%s)", exc)
        self._transport.disconnect()

    def _now(self) -> float:
        return self._clock.monotonic_us() / 1e6

    def _connect(self, now: float) -> None:
        self._link.connecting(now)
        try:
            self._transport.connect(self._words.will())
        except HubUnreachable as exc:
            self._down(str(exc))

    def _down(self, why: str, *, taken_over: bool = False) -> None:
        was_up = self._link.up
        self._transport.drop()
        if taken_over:
            self._tell_clash("another client came to the broker under this device's name")
        delay_s = self._link.lost(self._now(), taken_over=taken_over, dice=self._dice())
        self._frames_sent.clear()
        level = logging.WARNING if was_up or self._link.attempts == 1 else logging.DEBUG
        _log.log(level, "uplink: no connection (%s), next attempt in %.1f s", why, delay_s)

    def _take(self, signal: Signal) -> None:
        match signal:
            case Connected():
                self._connected(signal)
            case Lost(why, taken_over):
                self._down(why, taken_over=taken_over)
            case Published(mid, code, why):
                self._published(mid, code, why)
            case Subscribed(refused):
                if refused:
                    _log.error("uplink: the broker refused a subscription (%s); check its rights", ", ".join(refused))
            case Message():
                self._message(signal)
            case Woken():
                pass

    def _connected(self, signal: Connected) -> None:
        _log.info("uplink: connected (%s session)", "known" if signal.session_present else "new")
        self._link.connected(self._now())
        self._sending.restart()
        self._transport.subscribe(hub_words.topics_for(self._device))
        self._words.greet(self._clock.boot_id.hex())

    def _published(self, mid: int, code: int, why: str) -> None:
        key = self._frames_sent.pop(mid, None)
        if key is not None and code == NO_SUBSCRIBERS:
            self._sending.nobody_listens(key, self._now(), dice=self._dice())
        elif code >= 0x80:
            _log.error(
                "uplink: the broker refused a message (%s); a device that was revoked has no rights: enrol it again",
                why,
            )

    def _message(self, message: Message) -> None:
        try:
            match hub_words.read(message, self._device):
                case Ack() as ack:
                    self._ack(ack)
                case Desired() as desired:
                    self._on_desired(desired)
                case Command() as command:
                    self._on_command(command)
        except ContractError as exc:
            _log.warning("uplink: message on %s ignored: %s", message.topic[:120], exc)

    def _ack(self, ack: Ack) -> None:
        try:
            foreign = self._sending.acked(ack, self._now())
            if (ack.new_epoch or foreign) and ack.epoch in {log.epoch for log in self._spool.logs()[-1:]}:
                self._spool.new_epoch()
                self._tell_clash("the hub has frames of another device under this spool's epoch")
        except OSError as exc:
            # The frames stay or come again: the hub knows them. The disk's trouble shows in the recorder's gaps.
            _log.warning("uplink: ack could not be kept (%s)", exc)
        self._link.proven()

    def _tell_clash(self, why: str) -> None:
        _log.warning("uplink: identity clash, %s; enrol a cloned card anew", why)
        if self._now() >= self._clash_told_at + _TELL_CLASH_S:
            self._clash_told_at = self._now()
            self._on_clash(why)

    def _send(self) -> None:
        self._words.send()
        self._words.send_live()
        frames = topics.frames(self._device)
        while (outgoing := self._sending.next(self._now(), dice=self._dice())) is not None:
            self._frames_sent[self._transport.publish(frames, outgoing.raw)] = outgoing.key
