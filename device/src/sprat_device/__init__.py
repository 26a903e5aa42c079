"""The device side of Sprat: the contract that both sides speak, and the agent that keeps it."""

from typing import Final

VERSION: Final = "0.1.0"
