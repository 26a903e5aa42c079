"""What several integration tests stand on: an authority, a real broker with TLS, the hub's ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.brokers import Mosquitto, TestAuthority, make_broker
from tests.daemons import Agent, Start
from tests.ingests import Ingest


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    """A certificate authority of this test alone."""
    (tmp_path / "ca").mkdir()
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def broker(tmp_path: Path, authority: TestAuthority) -> Iterator[Mosquitto]:
    """A running broker that knows the authority's certificates."""
    (tmp_path / "broker").mkdir()
    broker = make_broker(tmp_path / "broker", authority)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def ingest(tmp_path: Path, broker: Mosquitto, authority: TestAuthority) -> Iterator[Ingest]:
    """The hub's ingest on that broker, its store in the test's folder."""
    process = Ingest(tmp_path, broker, authority)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """What starts real agents, each with a folder of its own for what it says."""
    agents: list[Agent] = []

    def begin(state: Path, **how: Any) -> Agent:
        folder = tmp_path / f"run{len(agents)}"
        folder.mkdir()
        agents.append(Agent(state, folder, **how))
        return agents[-1]

    yield begin
    for agent in agents:
        agent.close()
