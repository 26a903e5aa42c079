"""A shadow from the hub's device port by the real updater, a process of its own: signed, fetched, its golden set reproduced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.daemons import softmax
from tests.installs import MODEL, offer_of
from tests.samples import Publisher
from tests.served import DevicePort
from tests.unit.device.inference import bundles

from sprat_device.board.clock import SystemClock
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.board.settings import InstallSettings
from sprat_device.contract.bundle import GoldenSet
from sprat_device.contract.manifest import Tolerance
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.contract.phases import Reason
from sprat_device.contract.twin import Offer
from sprat_device.inference import runtimes
from sprat_device.install.installer import Installer

pytestmark = pytest.mark.integration


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


@pytest.fixture
def port(tmp_path: Path, publisher: Publisher) -> Iterator[DevicePort]:
    with DevicePort(tmp_path / "port", publisher.folder / "repository") as port:
        yield port


@pytest.fixture
def installer(tmp_path: Path, port: DevicePort) -> Iterator[Installer]:
    state = tmp_path / "state"
    device = enrol(port.url, port.token().dump(), state, device="d1")
    made = Installer(
        state, OsFiles(), SystemClock(), InstallSettings(probation_predictions=4), device,
        runtimes={"onnx": runtimes.available()["onnx"]},
    )  # fmt: skip
    made.boot()
    yield made
    made.stop()


def released(publisher: Publisher, folder: Path, *, off: float = 0.0) -> Offer:
    """Release a network of one softmax; `off` makes its golden answers wrong."""
    x = np.array([[1, 2, 3]], np.float32)
    golden = GoldenSet({"x": x}, {"onnx": {"y": (np.exp(x) / np.exp(x).sum() + off).astype(np.float32)}})
    described = replace(bundles.manifest(), model=MODEL)
    path = bundles.write(folder / "one.sprat", described, softmax(), golden, tolerance=Tolerance("absolute", 1e-5))
    return offer_of(publisher.release(path), path)


def until(installer: Installer, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, (installer.shadow_report(MODEL), installer.reports())
        installer.tick()
        time.sleep(0.02)


def test_a_shadow_by_the_real_updater_and_then_for_real(
    publisher: Publisher, port: DevicePort, installer: Installer, tmp_path: Path
) -> None:
    offer = released(publisher, tmp_path)
    installer.offer_shadow(MODEL, offer)
    until(installer, lambda: installer.shadow(MODEL) is not None)
    assert installer.shadow_report(MODEL).phase is Phase.CHECKED
    assert installer.active(MODEL) is None
    port.cut_after = 10  # no bundle comes over any more
    installer.offer(MODEL, offer)
    until(installer, lambda: installer.active(MODEL) is not None)
    assert installer.reports()[MODEL][2].phase is Phase.TRIAL
    assert installer.shadow(MODEL) is None


def test_a_shadow_that_computes_something_else_here_is_refused(
    publisher: Publisher, installer: Installer, tmp_path: Path
) -> None:
    installer.offer_shadow(MODEL, released(publisher, tmp_path, off=0.1))
    until(installer, lambda: installer.shadow_report(MODEL).phase is Phase.REFUSED)
    assert installer.shadow_report(MODEL).reason == Reason.GOLDEN_MISMATCH
    assert installer.shadow(MODEL) is None
