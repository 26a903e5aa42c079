"""Which epoch the spool is in, and of which there are folders: one for each, named by its number."""

from __future__ import annotations

import errno
import json
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sprat_device.board.files import Files
from sprat_device.contract.errors import ContractError
from sprat_device.contract.fields import Fields

SCHEMA: Final = "sprat.spool/1"
FILE_BYTES: Final = 256
"""Room that is counted for the file."""
_FILE_NAME: Final = "epoch.json"
_log: Final = logging.getLogger(__name__)


def draw() -> int:
    """Return a random epoch, so that no two cards share one by chance."""
    return int.from_bytes(secrets.token_bytes(8), "big") or 1


def folder_of(spool: Path, epoch: int) -> Path:
    """Return where the lanes of an epoch are."""
    return spool / f"{epoch:016x}"


def on_disk(files: Files, spool: Path) -> Iterator[int]:
    """Return the epochs that have a folder."""
    for path in files.list(spool):
        if len(path.name) == 16 and set(path.name) <= set("0123456789abcdef") and path.is_dir():
            yield int(path.name, 16)


def write(files: Files, spool: Path, epoch: int) -> None:
    """Say durably which epoch is the current one."""
    plain = json.dumps({"schema": SCHEMA, "epoch": f"{epoch:016x}"})
    files.write_atomic(spool / _FILE_NAME, plain.encode())


def read(files: Files, spool: Path) -> int | None:
    """Return the current epoch, None where that is not known or a worn block holds it."""
    try:
        fields = Fields(json.loads(files.read(spool / _FILE_NAME)), "spool epoch")
        fields.schema(SCHEMA)
        return int(fields.text("epoch", max_length=16), 16)
    except FileNotFoundError:
        return None
    except (ContractError, ValueError, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno != errno.EIO:
            raise
        _log.warning("spool: %s cannot be read (%s)", _FILE_NAME, exc)
        return None
