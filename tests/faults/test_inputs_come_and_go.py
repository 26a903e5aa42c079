"""Inputs that flood, stall, send garbage or die, and outputs that fail, added and removed while the others run.

No input dies of it, none is lost, and no thread or descriptor stays behind.
"""

from __future__ import annotations

import gc
import os
import pty
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.brokers import Mosquitto, make_plain_broker
from tests.unit.device.inference.bundles import DIGEST, KeptRecords, session

from sprat_device.agent.streams import Streams
from sprat_device.board.clock import SystemClock
from sprat_device.board.settings import DeviceSettings, InputSettings, OutputSettings, ServeSettings
from sprat_device.contract.twin import Installed
from sprat_device.inference.session import Session
from sprat_device.inference.sources import reopening

pytestmark = pytest.mark.faults
TURNS = 15
ROW = b"[1, 2, 3]"
FEEDING = threading.Lock()
"""Held while the test itself has files open."""


class Held:
    """An installer whose one bundle answers."""

    def active(self, _model: str) -> tuple[Installed, Path]:
        return Installed(DIGEST, 1), Path()

    def again(self, _model: str) -> bool:
        return False

    def loaded(self, *_: object) -> None:
        """Take note of nothing."""

    def observe(self, *_: object) -> None:
        """Judge nothing."""


class Site:
    """What all inputs read: a serial line, a folder, a file and a topic, each fed with readings and garbage."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder, self.port = folder, broker.port
        self.master, slave = pty.openpty()
        self.line = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self.master, False)
        (folder / "inbox").mkdir()
        (folder / "lines").touch()
        np.save(folder / "rows.npy", np.full((4, 3), 0.5, np.float32))
        self._fed, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()
        assert self._fed.wait(60)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        os.close(self.master)

    def _feed(self) -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        self._fed.set()
        number = 0
        while not self._ending.wait(0.02):
            number += 1
            junk = os.urandom(20)
            client.publish("site/a", ROW if number % 2 else junk)
            with FEEDING:
                (self.folder / "inbox" / f"{number}.json").write_bytes(ROW if number % 2 else junk)
                with (self.folder / "lines").open("ab") as file:
                    file.write(ROW + b"\n" + junk + b"\n")
            try:
                os.write(self.master, ROW + b"\n" + junk + b"\n")
            except BlockingIOError:
                continue  # nobody reads the line at the moment
        client.disconnect()
        client.loop_stop()

    def inputs(self) -> list[InputSettings]:
        flood = "import sys\nwhile True: sys.stdout.write('[1,2,3]\\n' * 100)"
        noise = (
            "import os, time\nwhile True: os.write(1, os.urandom(5000)); os.write(2, os.urandom(5000)); time.sleep(.01)"
        )
        return [
            _input("replay", "kept", path=str(self.folder / "rows.npy"), loop=True, rate_hz=100.0),
            _input("command", "floods", command=(sys.executable, "-c", flood)),
            _input("command", "noise", command=(sys.executable, "-c", noise)),
            _input("command", "dies", command=("/bin/echo", ROW.decode())),
            _input("command", "stalls", command=("/bin/sleep", "600"), stalled_after_s=0.1),
            _input("serial", "line", path=self.line, baud=115200),
            _input("folder", "inbox", path=str(self.folder / "inbox")),
            _input("file", "lines", path=str(self.folder / "lines")),
            _input("mqtt", "topic", port=self.port, topic="site/#"),
            _input("mqtt", "nobody", port=1, topic="site/#"),
            _input("serve", "asked"),
            _input("plugin", "absent", plugin="absent"),
        ]

    def outputs(self) -> list[OutputSettings]:
        made: list[dict[str, Any]] = [
            {"kind": "mqtt", "port": self.port, "topic": "told/{label}"}, {"kind": "mqtt", "port": 1, "topic": "told"},
            {"kind": "webhook", "url": "http://127.0.0.1:9/"}, {"kind": "file", "path": "/dev/full"},
            {"kind": "command", "command": ("/bin/sh", "-c", "sleep 60 & exit 1"), "most_hz": 5.0},
        ]  # fmt: skip
        return [replace(OutputSettings(), name=str(place), **given) for place, given in enumerate(made)]


def _input(kind: str, name: str, **given: Any) -> InputSettings:
    return replace(InputSettings("tiny", kind, name=name), **given)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    broker = make_plain_broker(tmp_path)
    broker.start()
    made = Site(tmp_path, broker)
    yield made
    made.close()
    broker.kill()


def test_inputs_and_outputs_come_and_go(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "open", lambda *_args, **_named: session())
    monkeypatch.setattr(reopening, "_LEAST_S", 0.02)
    chance = random.Random(1)  # noqa: S311 - no secret
    records = KeptRecords()
    kept, *others = site.inputs()
    alone = replace(DeviceSettings(), serve=ServeSettings(listen=f"unix:{tmp_path / 's'}"), inputs=(kept,))
    streams = Streams(tmp_path, alone, SystemClock(), records, Held())  # type: ignore[arg-type]

    def follow(settings: DeviceSettings) -> None:
        streams.redirect(settings)
        streams.reconfigure(settings)
        streams.serve(settings)
        streams.follow_slots()
        assert streams.dead() == []

    follow(alone)
    _until(lambda: len(records.predictions) > 10)
    before = _held()
    for _ in range(TURNS):
        some = tuple(entry for entry in others if chance.random() < 0.5)
        outputs = tuple(entry for entry in site.outputs() if chance.random() < 0.5)
        follow(replace(alone, inputs=(kept, *some), outputs=outputs))
        time.sleep(chance.random() / 5)
    records.predictions.clear()
    follow(replace(alone, inputs=(kept, *others)))
    wanted = {"kept", "floods", "dies", "line", "inbox", "lines", "topic"}
    _until(lambda: wanted <= {origin.input for origin, _ in list(records.predictions)})
    follow(alone)
    _until(lambda: all(now <= then for now, then in zip(_held(), before, strict=True)))
    own = [prediction.index for origin, prediction in records.predictions if origin.input == "kept"]
    assert own == list(range(own[0], own[0] + len(own)))  # none was lost of the one that nobody touched
    assert streams.stop(5) == []


def _held() -> tuple[int, int]:
    """Return how many threads and descriptors this process has; what a test before left as garbage may go at any time."""
    gc.collect()
    with FEEDING:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted


def _until(true: Callable[[], object]) -> None:
    end_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end_s, _held()
        time.sleep(0.05)
