from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp
from tests.unit.console.lab_fleet import PASSWORD, LabFleet, add_people, app_over, fill, stores

from sprat.hub.console import live
from sprat.hub.store.telemetry_commit import TelemetryWriter

ORIGIN = "http://testserver"


@dataclass
class HandClock:
    us: int = 1_790_000_030_000_000

    def __call__(self) -> int:
        return self.us

    def forward(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


def browser(app: ASGIApp) -> TestClient:
    """What sends the Origin of its page, as a browser does."""
    return TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False)


@dataclass
class Lab:
    """A filled fleet, its clock, and browsers of sorts."""

    fleet: LabFleet
    clock: HandClock
    client: TestClient

    def signed_in(self, role: str = "operator") -> TestClient:
        client = browser(self.client.app)
        answer = client.post("/login", data={"name": role, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client

    def csrf(self, client: TestClient) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)
        assert found
        return found[1]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def empty(tmp_path: Path, clock: HandClock) -> Iterator[Lab]:
    """A hub without devices."""
    with stores(tmp_path, clock) as parts:
        add_people(parts)
        app = app_over(parts)
        yield Lab(LabFleet(parts, None, {}), clock, browser(app))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabFleet]:
    """A hub's folder to copy: filling it takes longer than a test."""
    root = tmp_path_factory.mktemp("fleet")
    with stores(root, HandClock()) as parts:
        add_people(parts)
        return root, fill(parts)


@pytest.fixture
def lab(
    tmp_path: Path, clock: HandClock, filled: tuple[Path, LabFleet], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """A fleet of forty in the middle of a rollout; live ticks come as fast as they can."""
    monkeypatch.setattr(live, "TICK_S", 0.01)
    root, fleet = filled
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    with stores(tmp_path, clock) as parts:
        copied = LabFleet(
            parts, TelemetryWriter(parts.telemetry), fleet.bundles, dict(fleet.seqs), dict(fleet.produced)
        )
        yield Lab(copied, clock, browser(app_over(parts)))
