"""What each reason code means to an operator, and what to do about it: one table, used wherever a code is shown."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sprat_device.contract.phases import Reason

_BY_REASON: Final[Mapping[str, str]] = MappingProxyType({
    Reason.SIGNATURE: "A signature is missing or wrong. The device keeps its bundle; find out who changed the release.",
    Reason.METADATA_EXPIRED: "The signed metadata is too old. Renew the timestamp, or look at the hub's clock.",
    Reason.METADATA_ROLLBACK: "The metadata is older than what the device has seen. Restore the newest repository.",
    Reason.BELOW_FLOOR: "The release is older than the device accepts. Release the old bytes under a new number.",
    Reason.NOT_LISTED: "The signed channel does not list this bundle. Release it to the channel that the device follows.",
    Reason.UNKNOWN_SCHEMA: "The release speaks a newer schema. Upgrade the agent first.",
    Reason.NOT_PINNED: "The device was not enrolled for this channel or model. Only a local act can change that.",
    Reason.WRONG_ARCH: "The bundle is built for another processor. Build for a target that fits.",
    Reason.WRONG_RUNTIME: "The device has no runtime that is new enough. Install one, or build for what it has.",
    Reason.NO_RAM: "The model needs more memory than the device has. Build a smaller candidate.",
    Reason.NO_FLASH: "There is no room on the disk. Free some, or build a smaller candidate.",
    Reason.UNKNOWN_STEP: "The bundle needs a pre-processing step that is newer than the agent. Upgrade the agent first.",
    Reason.UNREACHABLE: "The hub could not be reached for the whole transfer. The device tries again.",
    Reason.TOO_SLOW: "The transfer fell below the minimum rate. The device tries again.",
    Reason.HASH_MISMATCH: "The bytes that arrived are not the bytes that were signed. Look at the storage and the link.",
    Reason.LENGTH_MISMATCH: "The file is longer or shorter than was signed. Look at the repository.",
    Reason.BAD_BUNDLE: "The bundle cannot be read. Build and release it again.",
    Reason.MANIFEST_MISMATCH: "The manifest inside contradicts the signed entry. Do not trust this bundle.",
    Reason.GOLDEN_MISMATCH: "This device computes other answers than the build did. Check the runtime's version.",
    Reason.CHECK_FAILED: "The check of the bundle ended without a verdict. Read the detail, try on one device.",
    Reason.TOO_MANY_STARTS: "The agent restarted too often during the trial. The old bundle is back.",
    Reason.TOO_MANY_ERRORS: "Too many predictions failed during the trial. The old bundle is back.",
    Reason.TOO_SLOW_INFERENCE: "Predictions took too long during the trial. The old bundle is back.",
    Reason.TOO_MUCH_MEMORY: "The agent grew beyond what the release says during the trial. The old bundle is back.",
    Reason.NON_FINITE: "The model gave answers that are not numbers. The old bundle is back.",
    Reason.NOT_LOADED: "The runtime could not load the artifact. Check the runtime's version.",
    Reason.OUTSIDE_WINDOW: "The bundle is checked and waits for a maintenance window. Nothing is to be done.",
    Reason.DEFERRED: "Somebody at the device has put it off. It goes on by itself, or with `sprat-device defer 0`.",
    Reason.UPDATER_FAILED: "The updater ended by a fault, again and again. Read the agent's log.",
    Reason.OUT_OF_MEMORY: "The updater ran out of memory, again and again. Free some, or build a smaller candidate.",
    Reason.ATTEMPTS_SPENT: "Every attempt was used up. Look at the first reason, then offer it again.",
    Reason.SUPERSEDED: "A newer offer took its place.",
    Reason.CANCELLED: "An operator or the device's owner stopped it.",
    Reason.INPUT_UNREADABLE: "What the source sent cannot be read as an input. Look at the source and its format.",
    Reason.INPUT_MISSING: "An input that the model needs was not there. Look at the source.",
    Reason.INPUT_SHAPE: "The input has another shape than the model takes. Look at the source.",
    Reason.INPUT_DTYPE: "The input has another type than the model takes. Look at the source.",
    Reason.INPUT_NON_FINITE: "The input holds values that are not numbers. Look at the sensor.",
    Reason.INPUT_RANGE: "The input lies outside of what the model was trained on. Look at the sensor.",
    Reason.RUN_FAILED: "The runtime failed on an input. Read the detail; check the runtime's version.",
    "silent": "No connection. Look at its power and its network; it sends what it spooled when it is back.",
    "not-seen": "Enrolled, never connected. Start the agent: sprat-device run.",
    "no-session": "A bundle is installed but nothing answers. Look at the agent's log.",
    "ledger": "The device's ledger does not balance: records are unaccounted for. Keep its disk for inspection.",
    "damaged": "The device found damaged frames on its disk. Look at the storage card.",
    "quarantine": "The hub put frames aside that it could not trust. Two devices may share one identity.",
    "missing": "Records that the device holds to be acked are not in the store.",
    "errors": "Many inputs became no prediction.",
    "drift": "Inputs or answers moved away from what the model was trained on.",
    "runtime-fails": "An installed runtime does not run here and is not used. Read the detail; install it again.",
    "requests-refused": "More was asked of the device at once than may wait. Ask less often, or raise serve.queue.",
    "not-listening": "The device cannot listen where its settings say, and tries again. Look for another program there.",
    "agent-started": "The agent began. Its detail tells how the run before it ended.",
    "agent-stopped": "The agent ended as it was asked to.",
    "clock-jumped": "The device's wall clock was set. Frames before it are put right by its boot and its uptime.",
    "thread-hangs": "A part of the agent makes no progress. Where a service manager watches it, it begins anew.",
    "disk-failed": "The device's disk did not take a write; it is tried again. Look at its room and at the storage card.",
    "settings-applied": "The device follows changed settings.",
    "settings-refused": "The settings at the device cannot be read; the old ones count. Mend the file that the detail names.",
    "settings-failed": "A part of the device's settings does not work. Read the detail; the rest counts.",
    "restart-needed": "Changed settings count after a restart: sprat-device restarts with its service, or by command.",
    "input-failed": "An input cannot be opened. Look at its settings and its source.",
    "input-back": "An input that could not be opened is read again.",
    "hot": "The processor is too hot and may slow down.",
    "power": "The board says that its supply or its heat holds it back. Look at the power supply, its cable and the cooling.",
})  # fmt: skip


def sentence(code: str) -> str:
    """Return the sentence for a reason code; an unknown one, told by a newer device, is said to be so."""
    return _BY_REASON.get(code, "A reason that this hub does not know yet; the device may be newer." if code else "")
