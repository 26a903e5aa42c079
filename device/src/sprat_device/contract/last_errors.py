"""What went wrong on a device lately, as its reported twin tells it, and what to do about each kind.

An event is an error where the table has a remedy for its code: starts, ends, changes and drift are told as events too,
and are none. A remedy is looked up by who shows the error, so that the twin stays small; a newer device's code has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sprat_device.contract.fields import Fields

MOST: Final = 8
"""A device tells at most so many kinds, the newest first."""
MOST_DETAIL: Final = 200
MOST_PLACE: Final = 128
_MOST_READ: Final = 64

_READING: Final = "a reading is not as the model's manifest wants it: sprat inspect BUNDLE shows what each input takes"
_SETTINGS: Final = "mend sprat.toml in the state folder and reload the agent (SIGHUP); docs/daemon.md"

REMEDIES: Final[Mapping[str, str]] = MappingProxyType({
    # readings and predictions
    "input-missing": _READING,
    "input-shape": _READING,
    "input-dtype": _READING,
    "input-non-finite": _READING,
    "input-range": _READING,
    "input-unreadable": "what came is not in the input's format: see its settings and what feeds it; docs/sources.md",
    "run-failed": "the runtime cannot run the model on a reading: sprat-device check BUNDLE shows whether it ever can",
    "non-finite": "the model answered with no number: capture such readings and build it again",
    # inputs, outputs, on demand
    "input-failed": "what the input's settings name cannot be opened; mend it and reload the agent; docs/sources.md",
    "source-failed": "what the input's settings name is not there or broke off; it is tried again by itself",
    "source-stalled": "nothing comes from the input: look at the sensor, its cable and the program that feeds it",
    "source-overflow": "readings come faster than the model answers: send fewer, or take a faster model",
    "sink-failed": "what the output's settings name does not take predictions; it is tried again by itself",
    "sink-overflow": "the receiver is slower than the predictions: tell fewer (on, labels, most_hz); docs/sinks.md",
    "sink-refused": "the receiver refuses predictions for good: look at its own log",
    "not-listening": "serve.listen cannot be used: free the address or name another; docs/serving.md",
    "requests-refused": "more is asked than the model answers: ask less often, or raise serve.queue",
    # captures and shadows
    "capture-off": "captures are off until this is mended and the settings are read again; docs/capture.md",
    "capture-dropped": "captures were left out; their reasons stand in docs/capture.md",
    "shadow-ended": "the shadow's process ended and is begun again; what answers goes on",
    "shadow-given-up": "the shadow is not begun again: offer another, or see its memory and runtime; docs/shadow.md",
    # settings and the agent
    "settings-refused": _SETTINGS,
    "settings-failed": _SETTINGS,
    "thread-hangs": "a part of the agent makes no progress; a watchdog begins it anew: look at what that part reads",
    "clock-jumped": "the wall clock was set: let the board keep time (NTP, or a clock with a battery)",
    "disk-failed": "the disk failed: make room, or look at the card (dmesg); what could not be written is tried again",
    "runtime-fails": "an installed runtime is not used: sprat-device runtimes tells why, and what it needs",
    "not-loaded": "the bundle cannot be loaded: sprat-device check on it tells why; the spare one is kept",
    "identity-clash": "another board has this device's identity: enrol the copy anew (sprat-device board replace)",
    # installs and the way to the hub
    "install-refused": "this release does not run here, for the reason that it names; docs/updates.md",
    "install-reverted": "the new bundle failed its trial and the one before answers again; docs/updates.md",
    "offer-ignored": "the hub offers a model that this device was not enrolled for: enrol it for that one, or offer less",
    "updater-failed": "the updater ended badly and is begun again: look at memory, disk and the agent's log",
    "memory-grown": "the agent takes more memory than when its bundles began to answer: restart it, and look at its log",
    "bundle-stands-aside": "the kept bundle does not load, so the spare one answers until it does: not-loaded says why",
    "bundle-missing": "the file of the active bundle is gone, so the spare one answers: look at the card",
    "slots-restored": "the record of the slots was damaged, its copy counts: look at the card",
    "floor-not-raised": "both records of the floors are damaged, nothing new is installed: enrol the device again",
    "look-failed": "the hub cannot be reached for updates; it is tried again by itself",
    "certificate-not-renewed": "the hub did not renew the certificate; before it ends, see the hub or enrol again",
    "metadata-refused": "what the hub's repository says is not signed as it should be: look at the hub, then at the way to it",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class LastError:
    """One kind of error in one place: when it came first and last by the device's clock, and how many events told it."""

    code: str
    at: str = ""
    """The model, `model/input` or `output name`; empty where it is the device's."""
    detail: str = ""
    """Of the last one."""
    count: int = 1
    first_us: int = 0
    last_us: int = 0

    @property
    def remedy(self) -> str:
        """Return what to do about it, empty for a code that this version does not know."""
        return REMEDIES.get(self.code, "")


def parse(raw: object, where: str) -> LastError:
    """Read one error, or raise ContractError."""
    fields = Fields(raw, where)
    return LastError(
        code=fields.text("code", max_length=64),
        at=fields.text("at", default="", max_length=128),
        detail=fields.text("detail", default="", max_length=1024),
        count=fields.integer("count", default=1, minimum=1),
        first_us=fields.integer("first_us", default=0),
        last_us=fields.integer("last_us", default=0),
    )


def parse_all(fields: Fields, key: str) -> tuple[LastError, ...]:
    """Read a document's list of them, of which an older device has none."""
    return fields.items(key, parse, default=())[:_MOST_READ]
