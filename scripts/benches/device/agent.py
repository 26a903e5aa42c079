"""The agent's hot path in one process: loop, recorder, spool and uplink as the daemon wires them, and a hub that acks at once."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sprat_device.board.clock import SystemClock
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import TelemetrySettings
from sprat_device.contract import topics
from sprat_device.contract.acks import Ack
from sprat_device.contract.frame import open_frame
from sprat_device.contract.ids import DeviceId, ModelName
from sprat_device.contract.records import Origin
from sprat_device.contract.topics import Kind
from sprat_device.inference.loop import Loop
from sprat_device.inference.session import Session
from sprat_device.inference.sources.replay import Replay
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.spool import DiskSpool
from sprat_device.telemetry.transport import Connected, Message, Signal, Will
from sprat_device.telemetry.uplink import Uplink

DEVICE = DeviceId("bench")


class AckingHub:
    """The uplink's transport to a hub that commits and acks whatever comes, without a network between."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self._signals: queue.SimpleQueue[Signal | None] = queue.SimpleQueue()

    def connect(self, will: Will) -> None:
        """Take the device."""
        self._signals.put(Connected(session_present=True))

    def subscribe(self, wanted: tuple[str, ...]) -> None:
        """Grant everything."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes = b"") -> int:
        """Ack a frame."""
        if topics.parse(topic).kind is Kind.FRAMES:
            header = open_frame(payload).header
            self.frames += 1
            self.bytes += len(payload)
            ack = Ack(header.epoch, header.lane, ((header.seq, header.seq),))
            self._signals.put(Message(topics.ack(DEVICE), ack.dump(), "", b""))
        return self.frames

    def receive(self, timeout_s: float) -> Signal | None:
        """Wait for what comes."""
        try:
            return self._signals.get(timeout=timeout_s) if timeout_s > 0 else self._signals.get_nowait()
        except queue.Empty:
            return None

    def wake(self) -> None:
        """Let a waiting `receive` return."""
        self._signals.put(None)

    def disconnect(self) -> None:
        """Nothing is open."""

    def drop(self) -> None:
        """Nothing is open."""


@contextmanager
def running(
    session: Session,
    rows: Mapping[str, np.ndarray[Any, Any]],
    folder: Path,
    *,
    before: Callable[[Loop], None] = lambda _loop: None,
) -> Iterator[Loop]:
    """Give a loop over the rows, again and again, with full telemetry and drift behind it.

    What the loop does `before` waits for the writer, as in a time in which the disk takes nothing.
    """
    clock, settings = SystemClock(), TelemetrySettings()
    spool = DiskSpool(OsFiles(), Path(tempfile.mkdtemp(dir=folder)), cap_bytes=settings.cap_bytes)
    recorder = Recorder(spool, clock, settings)
    uplink = Uplink(
        DEVICE, spool, AckingHub(), clock, settings, on_desired=lambda _wish: None, on_command=lambda _command: None
    )
    loop = Loop(Replay(rows, clock, loop=True), recorder, clock, lambda *_told: None)
    loop.swap(session, Origin(ModelName("bench"), 1, session.bundle_digest))
    before(loop)
    recorder.start()
    uplink.start()
    try:
        yield loop
    finally:
        recorder.close()
        uplink.stop()
        spool.close()


def rows_of(path: Path | None, session: Session) -> dict[str, np.ndarray[Any, Any]]:
    """Return test rows, or noise within the range that the model knows."""
    if path is not None:
        with np.load(path) as found:
            return {spec.name: found[spec.name] for spec in session.manifest.inputs}
    dice = np.random.default_rng(1)
    return {
        spec.name: dice.uniform(
            spec.minimums or spec.minimum, spec.maximums or spec.maximum, (64, *spec.shape[1:])
        ).astype(np.float32)
        for spec in session.manifest.inputs
    }


def pss_mib() -> float:
    """Return what this process takes of the memory, its share of what is shared included."""
    return _of_smaps("Pss")


def anonymous_mib() -> float:
    """Return what this process has allocated; a neighbour that maps the same libraries, or ends, does not move it."""
    return _of_smaps("Anonymous")


def _of_smaps(name: str) -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/smaps_rollup: no {name}")
