from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hubs import FoundedHub, TestHub, found_hub, open_hub


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> FoundedHub:
    return found_hub(tmp_path_factory.mktemp("founded"))


@pytest.fixture
def hub(tmp_path: Path, founded: FoundedHub) -> Iterator[TestHub]:
    with open_hub(founded.copy(tmp_path)) as opened:
        yield opened
