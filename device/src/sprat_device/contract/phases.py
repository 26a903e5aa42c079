"""The phases and reason codes that devices and the hub name: closed vocabularies, invented nowhere else."""

from enum import StrEnum


class InstallPhase(StrEnum):
    """Where a device is with one offered release."""

    IDLE = "idle"
    FETCHING = "fetching"
    STAGED = "staged"
    CHECKED = "checked"
    TRIAL = "trial"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    REFUSED = "refused"


class RolloutPhase(StrEnum):
    """Where the hub is with one rollout."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABORTED = "aborted"


class Reason(StrEnum):
    """Why a gate, an install or a record stopped."""

    # trust
    SIGNATURE = "signature"
    METADATA_EXPIRED = "metadata-expired"
    METADATA_ROLLBACK = "metadata-rollback"
    BELOW_FLOOR = "below-floor"
    NOT_LISTED = "not-listed"
    UNKNOWN_SCHEMA = "unknown-schema"
    NOT_PINNED = "not-pinned"
    # fit
    WRONG_ARCH = "wrong-arch"
    WRONG_RUNTIME = "wrong-runtime"
    NO_RAM = "no-ram"
    NO_FLASH = "no-flash"
    UNKNOWN_STEP = "unknown-step"
    # transfer and content
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too-slow"
    HASH_MISMATCH = "hash-mismatch"
    LENGTH_MISMATCH = "length-mismatch"
    BAD_BUNDLE = "bad-bundle"
    MANIFEST_MISMATCH = "manifest-mismatch"
    GOLDEN_MISMATCH = "golden-mismatch"
    CHECK_FAILED = "check-failed"
    # probation
    TOO_MANY_STARTS = "too-many-starts"
    TOO_MANY_ERRORS = "too-many-errors"
    TOO_SLOW_INFERENCE = "too-slow-inference"
    TOO_MUCH_MEMORY = "too-much-memory"
    NON_FINITE = "non-finite"
    NOT_LOADED = "not-loaded"
    # course of things
    OUTSIDE_WINDOW = "outside-window"
    DEFERRED = "deferred"
    UPDATER_FAILED = "updater-failed"
    OUT_OF_MEMORY = "out-of-memory"
    ATTEMPTS_SPENT = "attempts-spent"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    # inputs of an inference
    INPUT_MISSING = "input-missing"
    INPUT_SHAPE = "input-shape"
    INPUT_DTYPE = "input-dtype"
    INPUT_NON_FINITE = "input-non-finite"
    INPUT_RANGE = "input-range"
    INPUT_UNREADABLE = "input-unreadable"
    # the inference itself
    RUN_FAILED = "run-failed"


class ClockState(StrEnum):
    """Whether the wall clock may be believed."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"


class Lane(StrEnum):
    """A kind of frames with a log, a seq and a retention of its own; the order here is the order in which it is kept."""

    EVENTS = "events"
    SUMMARIES = "summaries"
    PREDICTIONS = "predictions"
    CAPTURES = "captures"
