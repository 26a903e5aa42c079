"""The threads beside the agent's main one, by the names that people read: that each lives, and how far it has come."""

from __future__ import annotations

from sprat_device.agent.streams import Streams
from sprat_device.contract.errors import AgentFault
from sprat_device.telemetry.recorder import Recorder
from sprat_device.telemetry.uplink import Uplink


class Threads:
    """One thread for each input, the spool writer and the uplink."""

    def __init__(self, streams: Streams, recorder: Recorder, uplink: Uplink) -> None:
        self._streams = streams
        self._recorder = recorder
        self._uplink = uplink

    def beats(self) -> dict[str, int]:
        """Return a count of each that rises with every round: one that stands still hangs."""
        inputs = {f"input {name}": count for name, count in self._streams.beats().items()}
        return {**inputs, "spool writer": self._recorder.beats, "uplink": self._uplink.beats}

    def require_alive(self) -> None:
        """Raise AgentFault where one has ended by a defect: a restart is the remedy."""
        dead = [f"input {name}" for name in self._streams.dead()]
        dead += ["spool writer"] * (not self._recorder.alive) + ["uplink"] * (not self._uplink.alive)
        if dead:
            raise AgentFault(
                f"{', '.join(dead)}: thread ended by a defect, which the log above tells; the agent starts anew"
            )
