"""How bundles are fetched and proven: `[install]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sprat_device.board.settings import values
from sprat_device.board.settings.entry import setting
from sprat_device.contract import maintenance
from sprat_device.contract.errors import ContractError
from sprat_device.contract.maintenance import Maintenance


def _rules(accept: Callable[[list[str]], object], example: str) -> Callable[[object], tuple[str, ...]]:
    """Accept a list of rules, in text separated by semicolons."""

    def read(raw: object) -> tuple[str, ...]:
        parts = [part.strip() for part in raw.split(";") if part.strip()] if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"a list such as [{example!r}]")
        try:
            accept(list(parts))
        except ContractError as exc:
            raise ValueError(f"a list such as [{example!r}]: {exc}") from exc
        return tuple(parts)

    return read


def _offset(raw: object) -> str:
    try:
        maintenance.of_texts((), (), values.text(raw))
    except ContractError as exc:
        raise ValueError("hours and minutes such as '+01:00'") from exc
    return str(raw)


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """`[install]`."""

    probation_predictions: int = setting(50, values.integer(1), "good predictions that confirm a bundle")
    probation_starts: int = setting(3, values.integer(1, 100), "starts without reaching that, then it is reverted")
    max_error_share: float = setting(0.02, values.number(0, 1), "of a bundle on trial")
    attempts: int = setting(2, values.integer(1, 100), "how often one release is tried, over all offers of it")
    poll_s: float = setting(3600.0, values.number(1, 604_800), "between two looks at the hub without an offer")
    minimum_bytes_per_s: int = setting(1024, values.integer(0), "a slower download is given up")
    maximum_bytes_per_s: int = setting(0, values.integer(0), "a download goes no faster; 0 is no limit")
    total_s: float = setting(3600.0, values.number(1, 604_800), "longest time of a download")
    updater_memory_kib: int = setting(192 * 1024, values.integer(0), "data that the updater may hold; 0 is no limit")
    updater_attempts: int = setting(
        5, values.integer(1, 100), "runs of the updater on one offer that may end by a fault or without memory"
    )
    windows: tuple[str, ...] = setting(
        (),
        _rules(lambda rules: maintenance.of_texts(rules, (), "+00:00"), "mon-fri 02:00-05:00"),
        "when a trial may begin; empty is always",
    )
    blackouts: tuple[str, ...] = setting(
        (),
        _rules(lambda rules: maintenance.of_texts((), rules, "+00:00"), "2026-12-24T00:00/2026-12-27T00:00"),
        "when none may begin, whatever the windows say",
    )
    utc_offset: str = setting("+00:00", _offset, "of the times in windows and blackouts")

    @property
    def maintenance(self) -> Maintenance:
        """Return this site's own windows."""
        return maintenance.of_texts(self.windows, self.blackouts, self.utc_offset)
