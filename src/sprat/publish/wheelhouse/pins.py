"""The versions that the tests ran with, as they apply to a device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sprat.errors import MachineLacks, SpratError

HOST_FILE: Final = "constraints.txt"
DEVICE_FILE: Final = "device-constraints.txt"
_PACKAGED: Final = Path(__file__).parents[2]
_SOURCE_TREE: Final = Path(__file__).parents[4]
_LINE: Final = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)")


def load(runtime: str) -> dict[str, str]:
    """Return version by normal name: the host's, and for the runtime of the device's constraints those over them."""
    pins = _read(_find(HOST_FILE, _SOURCE_TREE / HOST_FILE))
    device = _read(_find(DEVICE_FILE, _SOURCE_TREE / "device" / "constraints.txt"))
    # The device's file is one environment, that of tflite-runtime with numpy < 2; other runtimes take the newer numpy.
    if f"{runtime}-runtime" in device:
        pins.update(device)
    return pins


def pinned(requirement: Requirement, pins: Mapping[str, str], *, needed_by: str) -> str:
    """Return the version to take for a requirement, or say which constraint is missing or does not fit."""
    name = canonicalize_name(requirement.name)
    version = pins.get(name)
    if version is None:
        raise SpratError(f"{needed_by} needs {requirement.name}, which {HOST_FILE} does not pin; add its version there")
    if not requirement.specifier.contains(version, prereleases=True):
        raise SpratError(f"{needed_by} needs {requirement}, {HOST_FILE} pins {version}; mend the constraint")
    return version


def _find(packaged: str, in_tree: Path) -> Path:
    for path in (_PACKAGED / packaged, in_tree):
        if path.is_file():
            return path
    raise MachineLacks(f"{packaged} is missing from this installation of sprat; install it again")


def _read(path: Path) -> dict[str, str]:
    found = (_LINE.match(line.strip()) for line in path.read_text("utf-8").splitlines())
    return {canonicalize_name(match[1]): match[2] for match in found if match}
