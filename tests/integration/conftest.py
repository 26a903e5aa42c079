"""What several integration tests stand on: an authority, a real broker with TLS, the hub's ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.brokers import Mosquitto, TestAuthority, make_broker
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
