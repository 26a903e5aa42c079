"""One agent per state folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sprat_device.board import alone
from sprat_device.contract.errors import MachineLacks


def test_a_second_agent_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with alone.hold(state):
        assert alone.is_held(state)
        with pytest.raises(MachineLacks, match="another sprat-device runs here"), alone.hold(state):
            pass
    assert not alone.is_held(state)
    with alone.hold(state):
        pass
