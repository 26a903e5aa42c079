"""A target: what a kind of device has and how much of it a bundle may use (`sprat.target/1`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sprat.errors import ContractError, RecipeError
from sprat.settings import line_of, unknown_key
from sprat_device.contract.fields import Fields, text
from sprat_device.contract.ids import model_name
from sprat_device.contract.manifest import Runtime

SCHEMA: Final = "sprat.target/1"


@dataclass(frozen=True, slots=True)
class RuntimeNeed:
    """What one runtime's wheel is and needs on this target."""

    package: str
    minimum: str
    python: tuple[str, ...]
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One hardware profile; the budget is what a bundle may take of it."""

    name: str
    about: str
    arch: tuple[str, ...]
    cores: int
    ram_mib: int
    flash_mib: int
    bundle_kib: int
    """Budget: bytes of one bundle on flash."""
    memory_kib: int
    """Budget: peak memory of the session above the runtime's floor."""
    latency_us: int
    """Budget: p50 latency on this target; 0 where only a measurement on the device itself may decide."""
    runtimes: Mapping[str, RuntimeNeed]
    python: str
    """Of the system that boards of this kind mostly run."""
    debian: Mapping[str, str]
    """Distribution -> Debian package, where no index has wheels for this machine."""


def parse(raw: str, *, name: str) -> Target:
    """Read a target file, or raise RecipeError."""
    try:
        document = tomllib.loads(raw)
        fields = Fields(document, f"target {name}")
        fields.schema(SCHEMA)
        target = Target(
            name=fields.value("name", model_name),
            about=fields.text("about", default=""),
            arch=fields.items("arch", text),
            cores=fields.integer("cores", minimum=1),
            ram_mib=fields.integer("ram_mib", minimum=1),
            flash_mib=fields.integer("flash_mib", minimum=1),
            runtimes=fields.mapping("runtimes", _runtime),
            python=fields.text("python", default="3.11"),
            debian=fields.mapping("debian", text, default={}),
            **fields.value("budget", _budget),
        )
    except (tomllib.TOMLDecodeError, ContractError) as exc:
        raise RecipeError(f"target file {name}: {exc}") from exc
    _require_known(raw, fields.rest(), name)
    if unknown := set(target.runtimes) - set(Runtime):
        line = line_of(raw, ("runtimes", min(unknown)))
        raise RecipeError(unknown_key(min(unknown), tuple(Runtime), f"{name}, line {line}"))
    return target


def _require_known(raw: str, rest: Mapping[str, object], name: str) -> None:
    known = (
        "schema",
        "name",
        "about",
        "arch",
        "cores",
        "ram_mib",
        "flash_mib",
        "budget",
        "runtimes",
        "python",
        "debian",
    )
    for key in rest:
        raise RecipeError(unknown_key(key, known, f"{name}, line {line_of(raw, (key,))}"))


def _budget(raw: object) -> dict[str, Any]:
    fields = Fields(raw, "budget")
    budget = {key: fields.integer(key, default=0) for key in ("bundle_kib", "memory_kib", "latency_us")}
    for key in fields.rest():
        raise ContractError(unknown_key(key, tuple(budget), "budget"))
    return budget


def _runtime(raw: object, where: str) -> RuntimeNeed:
    fields = Fields(raw, where)
    return RuntimeNeed(
        package=fields.text("package"),
        minimum=fields.text("minimum"),
        python=fields.items("python", text),
        needs=fields.text("needs", default=""),
    )
