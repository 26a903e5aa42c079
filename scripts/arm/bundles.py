"""Bundles of the repository's own models, built on this host for the emulated machines, as a user would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from machines import Machine
from rows import Table

from sprat.lab.shell import Shell


@dataclass(frozen=True, slots=True)
class Build:
    """One scheme of one model; what runs it decides which machines it is built for."""

    model: str
    scheme: str
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A bundle for one target, with the held-out rows that it is asked."""

    build: Build
    target: str
    path: Path
    sha256: str
    rows: Path
    correct: Mapping[str, int]
    """Right answers to those rows on this host, by each runtime that the build has proven it on."""


BUILDS: Final = (
    Build("digits", "int8-full", ("tflite", "litert")),
    Build("digits", "float32", ("tflite", "litert")),
    Build("digits", "float32-onnx", ("onnx",)),
    Build("occupancy", "float64-onnx", ("onnx",)),
)


def build_all(shell: Shell, machines: Sequence[Machine], models: Path, out: Path, table: Table) -> list[Built]:
    """Build everything that one of the machines can run, and show the runtimes of this host that it is proven on."""
    found: list[Built] = []
    for build in BUILDS:
        targets = [machine.target for machine in machines if set(build.runtimes) & set(machine.runtimes)]
        if not targets:
            continue
        wanted = [part for target in targets for part in ("--target", target)]
        folder = out / f"{build.model}-{build.scheme}"
        document = shell.sprat(
            "build", str(models / build.model), *wanted, "--set", f'schemes=["{build.scheme}"]', "--out", str(folder),
        )  # fmt: skip
        found += [
            Built(build, one["target"], Path(one["path"]), one["sha256"], Path(one["test_set"]), _correct(one))
            for one in document["bundles"]
        ]
    for one in found:
        named = {name for machine in machines if machine.target == one.target for name in machine.runtimes}
        expected = sorted(named & set(one.build.runtimes))
        what = f"built and proven, {one.build.model} {one.build.scheme} for {one.target}"
        table.show("host", what, ", ".join(sorted(one.correct)), expected=", ".join(expected))
    return found


def _correct(bundle: Mapping[str, Any]) -> dict[str, int]:
    return {runtime: found["correct"] for runtime, found in bundle["measured"]["runtimes"].items()}
