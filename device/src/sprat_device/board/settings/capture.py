"""Which readings are kept for people to look at, and how much of them: `[capture]`, off unless switched on here."""

from __future__ import annotations

from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting


def _texts(raw: object) -> tuple[str, ...]:
    """Accept a list of texts, in text separated by commas."""
    found = [part.strip() for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
    if not isinstance(found, list | tuple) or not all(isinstance(entry, str) for entry in found):
        raise ValueError("a list of texts")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """`[capture]`: inputs leave the device only where this says so."""

    enabled: bool = setting(False, values.boolean, "keep readings and send them to the hub")
    hub_may_tune: bool = setting(False, values.boolean, "the hub may change labels, thresholds and rates, never enable")
    daily_bytes: int = setting(1024 * 1024, values.integer(0), "of captures in one UTC day, before compression")
    share_random: float = setting(0.1, values.number(0, 1), "of the day's bytes for readings drawn by lot; 0 is off")
    share_label: float = setting(0.2, values.number(0, 1), "for readings with one of `labels`")
    share_unusual: float = setting(0.3, values.number(0, 1), "for readings unlike those of training")
    share_uncertain: float = setting(0.2, values.number(0, 1), "for answers that are not sure")
    share_shadow: float = setting(0.2, values.number(0, 1), "for readings to which the shadow says something else")
    random_rate: float = setting(0.001, values.number(0, 1), "share of all readings that is drawn by lot")
    labels: tuple[str, ...] = setting((), _texts, "answers that somebody wants to look at")
    unusual_factor: float = setting(1.0, values.number(0, 1000), "interdecile ranges beyond the outer deciles")
    uncertain_below: float = setting(0.6, values.number(0, 1), "highest score of an answer that is not sure")
    margin_below: float = setting(0.0, values.number(0, 1), "distance of the two highest scores; 0 asks for none")
    redact: tuple[str, ...] = setting((), _texts, "hooks (sprat.redact) without which nothing is captured")
