"""Which packages are installed, by the names of their metadata folders.

`importlib.metadata` knows more, and brings the library for e-mail with it: half a MiB of resident memory in each agent.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

_FOLDER = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(-py[\d.]+)?\.(dist|egg)-info")


def version(package: str, *, folders: Iterable[str] | None = None) -> str | None:
    """Return the version of an installed package, None where it is not; the first folder of the path counts."""
    wanted = _plain(package)
    for folder in sys.path if folders is None else folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or "."))
        except OSError:
            continue  # a path entry that is absent or an archive holds no metadata folders
        for name in names:
            if (found := _FOLDER.fullmatch(name)) and _plain(found["name"]) == wanted:
                return found["version"]
    return None


def _plain(name: str) -> str:
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    return re.sub(r"[-_.]+", "-", name).lower()
