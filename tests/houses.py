"""Wheelhouses for this machine: a real one, and copies of it with another agent."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sprat.cli.wheelhouse import board_of, target_of
from sprat.publish.wheelhouse.folder import build
from sprat_device.contract import wheelhouse
from sprat_device.contract.ids import Digest
from sprat_device.contract.wheelhouse import MANIFEST, REQUIREMENTS, HouseFile

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGETS = Path(__file__).parents[1] / "models" / "targets"
Edit = Callable[[dict[str, bytes]], None]


def build_house(out: Path) -> Path:
    """Build the wheelhouse of this machine, with the smallest runtime that its Python has."""
    target = target_of("generic-x86_64", TARGETS)
    runtime = next(name for name in ("tflite", "onnx", "litert") if PYTHON in target.runtimes[name].python)
    return build(board_of(target, runtime, PYTHON), out, lambda _step: None).folder


def variant(house: Path, to: Path, version: str, edit: Edit) -> Path:
    """Copy a wheelhouse with another agent in it, whole and with right hashes."""
    shutil.copytree(house, to)
    manifest = wheelhouse.parse((to / MANIFEST).read_bytes())
    wheel = to / manifest.agent_wheel.name
    with zipfile.ZipFile(wheel) as held:
        content = {name: held.read(name) for name in held.namelist()}
    content["sprat_device/__init__.py"] = content["sprat_device/__init__.py"].replace(
        f'"{manifest.agent}"'.encode(), f'"{version}"'.encode()
    )
    edit(content)
    with zipfile.ZipFile(wheel, "w") as held:
        for name, data in content.items():
            held.writestr(name, data)
    digest = Digest(hashlib.sha256(wheel.read_bytes()).hexdigest())
    listed = (to / REQUIREMENTS).read_text().replace(manifest.agent_wheel.sha256, digest)
    (to / REQUIREMENTS).write_text(listed)
    files = []
    for file in manifest.files:
        data = (to / file.name).read_bytes()
        files.append(HouseFile(file.name, Digest(hashlib.sha256(data).hexdigest()), len(data)))
    (to / MANIFEST).write_bytes(replace(manifest, agent=version, files=tuple(files)).dump())
    return to


def in_run(line: str) -> Edit:
    """Return an edit that puts a line at the beginning of what `sprat-device run` does."""

    def edit(content: dict[str, bytes]) -> None:
        name = "sprat_device/daemon.py"
        head, mark, rest = content[name].partition(b"\ndef run(state: Path")
        signature, end, body = rest.partition(b":\n")
        assert mark
        assert end
        content[name] = head + mark + signature + end + f"    import threading\n    {line}\n".encode() + body

    return edit


def unchanged(_content: dict[str, bytes]) -> None:
    pass


def broken_runtime(content: dict[str, bytes]) -> None:
    content["sprat_device/inference/runtimes/health.py"] = b"raise SystemExit('this processor is too old')\n"


def broken_entry(content: dict[str, bytes]) -> None:
    content["sprat_device/__main__.py"] = b"raise SystemExit('a broken build')\n"
