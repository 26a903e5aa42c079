"""What a `.tflite` keeps between two runs, by its operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sprat_device.contract.manifest import State

VARIABLES: Final = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
"""Variables of the graph: a streaming model keeps what it has seen."""
MEMORIES: Final = frozenset(
    {
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "SVDF",
        "LSTM",
        "RNN",
    }
)
"""Fused kernels that go on where the last run ended, whatever the model meant."""


def state_of(ops: Iterable[str], *, stream: bool) -> State:
    """Return what the device must do about state: nothing, clear it before each reading, or keep it through a stream."""
    if not (VARIABLES | MEMORIES) & set(ops):
        return State.NONE
    return State.KEPT if stream else State.CLEARED
