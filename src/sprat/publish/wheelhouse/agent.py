"""The agent's own wheel: built from its source tree where there is one, else packed from what is installed.

The same code gives the same bytes.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from sprat.errors import MachineLacks

PROJECT: Final = "sprat-device"
_LEFT_OUT: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def agent_wheel(folder: Path) -> Path:
    """Write the agent's wheel into a folder and return it."""
    found = metadata.distribution(PROJECT)
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable") and origin.get("url", "").startswith("file:"):
        return _build(Path(unquote(urlparse(origin["url"]).path)), folder)
    return pack(found, folder)


def pack(found: metadata.Distribution, folder: Path) -> Path:
    """Pack an installed pure distribution as the wheel that it came from, entry scripts left to the installer."""
    version = found.version
    info = f"{PROJECT.replace('-', '_')}-{version}.dist-info"
    content: dict[str, bytes] = {}
    for file in found.files or ():
        name = str(file)
        if name.startswith("..") or name.endswith((".pyc", ".pth")) or file.name in _LEFT_OUT:
            continue
        content[name] = Path(str(found.locate_file(file))).read_bytes()
    if f"{info}/WHEEL" not in content:
        raise MachineLacks(f"{PROJECT} {version}: its installation holds no wheel metadata; install it again")
    wheel = folder / f"{PROJECT.replace('-', '_')}-{version}-py3-none-any.whl"
    content[f"{info}/RECORD"] = _record(content, f"{info}/RECORD")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as held:
        for name in sorted(content, key=lambda name: (name.startswith(info), name)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            held.writestr(entry, content[name], zipfile.ZIP_DEFLATED)
    return wheel


def _build(source: Path, folder: Path) -> Path:
    arguments = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--wheel-dir", str(folder), str(source)]  # fmt: skip
    if find_spec("hatchling") is not None:
        arguments.append("--no-build-isolation")  # nothing has to be fetched to build it
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise MachineLacks(f"the agent's wheel cannot be built from {source} ({said[-1] if said else 'no reason'})")
    (wheel,) = folder.glob(f"{PROJECT.replace('-', '_')}-*.whl")
    return wheel


def _record(content: dict[str, bytes], own: str) -> bytes:
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for name, data in sorted(content.items()):
        hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        writer.writerow((name, f"sha256={hashed}", len(data)))
    writer.writerow((own, "", ""))
    return rows.getvalue().encode()
