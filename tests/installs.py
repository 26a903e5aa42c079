"""A device in a folder, with the updater's work in this process: what install tests steer and cut."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tests.clock import ManualClock
from tests.samples import NOW, Publisher

from sprat_device.board.files import Files, OsFiles
from sprat_device.board.identity import Identity
from sprat_device.board.settings import InstallSettings
from sprat_device.contract.ids import Channel, DeviceId, Digest, ModelName
from sprat_device.contract.phases import ClockState
from sprat_device.contract.twin import Offer
from sprat_device.install.fit import Machine
from sprat_device.install.installer import Installer
from sprat_device.install.origins import FolderOrigin, Origin
from sprat_device.install.record import Install, Records
from sprat_device.install.trust import Trust
from sprat_device.install.work import Ports, work

MODEL = ModelName("digits")
RUNTIMES = {"litert": "2.3.0"}


def check_that_says(document: dict[str, object], code: int = 0) -> tuple[str, ...]:
    """Return a check command that prints a document, whatever it is asked to check."""
    return ("/bin/sh", "-c", f"echo '{json.dumps(document)}'; exit {code}", "check")


PASSES = check_that_says({"ok": True, "latency_us": {"p50": 10, "p99": 20}})


class Board:
    """One device that follows `canary`."""

    def __init__(
        self,
        state: Path,
        publisher: Publisher,
        *,
        files: Files | None = None,
        origin: Origin | None = None,
        clock: ManualClock | None = None,
        check: tuple[str, ...] = PASSES,
        machine: Machine | None = None,
        channel: str = "canary",
        windows: tuple[str, ...] = (),
        models: tuple[ModelName, ...] = (MODEL,),
    ) -> None:
        self.state = state
        self.looks = 0
        self.weighs_kib = 80_000
        self.updater_ends = 0
        """The code by which the updater ends before it has done anything; 0: it works."""
        self.files = files or OsFiles()
        self.clock = clock or clock_at(NOW)
        folder = state / "identity"
        folder.mkdir(parents=True, exist_ok=True)
        self.identity = Identity(
            DeviceId("d1"), "https://127.0.0.1:1", "127.0.0.1", 1, Channel(channel), models, folder
        )
        if not self.identity.root.exists():
            self.identity.root.write_bytes((publisher.folder / "repository/metadata/1.root.json").read_bytes())
        self.settings = InstallSettings(probation_predictions=4, probation_starts=3, windows=windows)
        self.ports = Ports(
            state=state,
            files=self.files,
            clock=self.clock,
            settings=self.settings,
            identity=self.identity,
            machine=machine or Machine("x86_64", 1 << 20, RUNTIMES),
            origin=origin or FolderOrigin(publisher.folder / "repository"),
            trust=Trust(state, root=self.identity.root.read_bytes(), files=self.files, clock=self.clock),
            check=check,
        )
        self.installer = Installer(
            state,
            self.files,
            self.clock,
            self.settings,
            self.identity,
            runtimes=RUNTIMES,
            launch=self._launch,
            jitter=lambda: 1.0,
            weigh=lambda: self.weighs_kib,
        )

    def work_on(self, offer: Offer) -> Install:
        """Work on an offer as the updater does, from the beginning."""
        self.installer.boot()
        self.installer.offer(MODEL, offer)
        return work(MODEL, self.ports)

    def install(self, offer: Offer) -> None:
        """Take an offer through a good trial."""
        self.installer.offer(MODEL, offer)
        self.run_until_trial()
        self.predict(self.settings.probation_predictions)
        self.installer.tick()

    def run_until_trial(self) -> None:
        for _ in range(4):
            self.installer.tick()

    def predict(self, count: int, *, ok: bool = True) -> None:
        active = self.installer.active(MODEL)
        if active is None:
            raise AssertionError("nothing to predict with")
        for _ in range(count):
            self.installer.observe(MODEL, active[0].bundle, ok, 100)

    @property
    def record(self) -> Install:
        return Records(self.files, self.state).load(MODEL)

    def with_ports(self, **changes: object) -> Ports:
        self.ports = replace(self.ports, **changes)  # type: ignore[arg-type]
        return self.ports

    def _launch(self, model: ModelName | None) -> Finished:
        if self.updater_ends:
            return Finished(self.updater_ends)
        if model is None:
            self.looks += 1
        else:
            work(model, self.ports)
        return Finished()


class Finished:
    """An updater that has ended by the time it is asked."""

    def __init__(self, code: int = 0) -> None:
        self._code = code

    def poll(self) -> int:
        return self._code

    def stop(self) -> None:
        pass


def clock_at(when: datetime, *, state: ClockState = ClockState.SYNCHRONISED) -> ManualClock:
    return ManualClock(wall_us=int(when.timestamp() * 1e6), state=state)


def offer_of(path: str, bundle: Path, *, rollout: str = "r1") -> Offer:
    """Return the offer of a published bundle, by its target path."""
    from sprat.publish.bundle import digest_of

    channel, _, number, name = path.split("/")
    return Offer(rollout, Channel(channel), int(number), name.removesuffix(".sprat"), Digest(digest_of(bundle)))
