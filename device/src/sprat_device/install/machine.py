"""The install of one offer: idle -> fetching -> staged -> checked -> trial -> confirmed | reverted.

The table is the module. `refused` is reached from any phase before trial, never after. The newest offer wins from
every phase; a trial is reverted first. A trial that cannot begin for what the machine lacks is put off: back to
`checked`. A pair that is not in the table is a fault of the caller and raises. Effects are idempotent: the caller
persists the new phase first, then performs them, and performs those of the phase again at boot.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sprat_device.contract.phases import InstallPhase as Phase


class Event(StrEnum):
    """What can happen to an install."""

    OFFERED = "offered"
    FETCHED = "fetched"
    CHECK_PASSED = "check-passed"
    STARTED = "started"
    PROVEN = "proven"
    DISPROVEN = "disproven"
    REFUSED = "refused"
    TRY_LATER = "try-later"
    CANCELLED = "cancelled"


class Effect(StrEnum):
    """What the installer does after it has persisted the phase."""

    UPDATE = "update"
    """Run the updater."""
    STOP_UPDATER = "stop-updater"
    FLIP = "flip"
    """The new bundle becomes active, the old one spare."""
    SWAP_BACK = "swap-back"
    """The spare becomes active again."""
    RAISE_FLOOR = "raise-floor"
    CLEAN = "clean"
    """Remove bundles that no slot holds."""


_NEW_OFFER: Final = (Phase.FETCHING, (Effect.STOP_UPDATER, Effect.UPDATE))
_REFUSED: Final = (Phase.REFUSED, (Effect.CLEAN,))
_GIVEN_UP: Final = (Phase.IDLE, (Effect.STOP_UPDATER, Effect.CLEAN))

TABLE: Final[dict[tuple[Phase, Event], tuple[Phase, tuple[Effect, ...]]]] = {
    (Phase.IDLE, Event.OFFERED): (Phase.FETCHING, (Effect.UPDATE,)),
    (Phase.IDLE, Event.CANCELLED): (Phase.IDLE, ()),
    (Phase.FETCHING, Event.OFFERED): _NEW_OFFER,
    (Phase.FETCHING, Event.FETCHED): (Phase.STAGED, (Effect.UPDATE,)),
    (Phase.FETCHING, Event.TRY_LATER): (Phase.FETCHING, (Effect.UPDATE,)),
    (Phase.FETCHING, Event.REFUSED): _REFUSED,
    (Phase.FETCHING, Event.CANCELLED): _GIVEN_UP,
    (Phase.STAGED, Event.OFFERED): _NEW_OFFER,
    (Phase.STAGED, Event.CHECK_PASSED): (Phase.CHECKED, ()),
    (Phase.STAGED, Event.TRY_LATER): (Phase.STAGED, (Effect.UPDATE,)),
    (Phase.STAGED, Event.REFUSED): _REFUSED,
    (Phase.STAGED, Event.CANCELLED): _GIVEN_UP,
    (Phase.CHECKED, Event.OFFERED): _NEW_OFFER,
    (Phase.CHECKED, Event.STARTED): (Phase.TRIAL, (Effect.FLIP,)),
    (Phase.CHECKED, Event.REFUSED): _REFUSED,
    (Phase.CHECKED, Event.CANCELLED): _GIVEN_UP,
    (Phase.TRIAL, Event.PROVEN): (Phase.CONFIRMED, (Effect.RAISE_FLOOR, Effect.CLEAN)),
    (Phase.TRIAL, Event.DISPROVEN): (Phase.REVERTED, (Effect.SWAP_BACK, Effect.CLEAN)),
    (Phase.TRIAL, Event.TRY_LATER): (Phase.CHECKED, (Effect.SWAP_BACK,)),
    (Phase.TRIAL, Event.CANCELLED): (Phase.REVERTED, (Effect.SWAP_BACK, Effect.CLEAN)),
    **{
        (phase, Event.OFFERED): (Phase.FETCHING, (Effect.UPDATE,))
        for phase in (Phase.CONFIRMED, Phase.REVERTED, Phase.REFUSED)
    },
    **{(phase, Event.CANCELLED): (phase, ()) for phase in (Phase.CONFIRMED, Phase.REVERTED, Phase.REFUSED)},
}

UPDATING: Final = frozenset({Phase.FETCHING, Phase.STAGED})
"""The phases in which the updater works."""


def step(phase: Phase, event: Event) -> tuple[Phase, tuple[Effect, ...]]:
    """Return the next phase and what to do once it is persisted."""
    try:
        return TABLE[phase, event]
    except KeyError:
        raise AssertionError(f"install: {event} cannot happen in {phase}") from None
