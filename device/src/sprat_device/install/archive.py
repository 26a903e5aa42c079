"""A copied repository in one file, `.zip` or `.tar` (compressed or not): read in place, nothing is unpacked.

No name of the archive becomes a path, so none can lead anywhere; how much of an entry is read is bounded by who reads
it, so none can be a bomb.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO, Final

from sprat_device.contract import damage
from sprat_device.contract.errors import WrongUse
from sprat_device.install.origins import CHUNK, FileMissing, TryLater

_MARK: Final = "metadata/timestamp.json"
_DAMAGE: Final = (*damage.OF_ARCHIVES, tarfile.TarError, lzma.LZMAError)

Open = Callable[[str], IO[bytes]]


class ArchiveOrigin:
    """A repository that stands in an archive, at its top or in one folder of it."""

    def __init__(self, path: Path) -> None:
        """Read the archive's list, or raise WrongUse where it holds no repository."""
        self._path = path
        with ExitStack() as undo:
            try:
                # Opened here, so that it is closed even where a reader has left an entry in the middle.
                self._open, names = _opened(undo.enter_context(path.open("rb")))
            except FileNotFoundError as exc:
                raise WrongUse(
                    f"{path}: not there; expected a copied repository, a folder or an archive of it"
                ) from exc
            except _DAMAGE as exc:
                raise WrongUse(f"{path}: no readable .zip or .tar; copy it again") from exc
            self._names = frozenset(names)
            self._top = _top(self._names, path)
            self.close = undo.pop_all().close

    def metadata(self, name: str) -> Iterator[bytes]:
        """Return the chunks of a metadata file."""
        return self._read(f"metadata/{name}", 0)

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        """Return the file's chunks from `offset`."""
        return offset, self._read(f"targets/{stored_as}", offset)

    def _read(self, name: str, offset: int) -> Iterator[bytes]:
        if self._top + name not in self._names:
            raise FileMissing(f"{self._path}: {self._top + name} is missing; archive the repository whole")
        return self._chunks(self._top + name, offset)

    def _chunks(self, name: str, offset: int) -> Iterator[bytes]:
        try:
            with self._open(name) as file:
                file.seek(offset)
                while chunk := file.read(CHUNK):
                    yield chunk
        except _DAMAGE as exc:
            raise TryLater(f"{self._path}: {name} cannot be read ({exc}); copy the archive again") from exc


def _opened(file: BinaryIO) -> tuple[Open, list[str]]:
    """Return what opens an entry, and the entries."""
    # First of all as a .tar: one that ends with a bundle, which is a .zip, would pass for a .zip too.
    is_tar = tarfile.is_tarfile(file)
    file.seek(0)
    return _tar(tarfile.open(fileobj=file)) if is_tar else _zip(zipfile.ZipFile(file))


def _zip(archive: zipfile.ZipFile) -> tuple[Open, list[str]]:
    return archive.open, archive.namelist()


def _tar(archive: tarfile.TarFile) -> tuple[Open, list[str]]:
    members = {member.name: member for member in archive if member.isreg()}  # a link is no file of a repository

    def open_(name: str) -> IO[bytes]:
        file = archive.extractfile(members[name])
        if file is None:
            raise tarfile.ReadError("not a file")
        return file

    return open_, list(members)


def _top(names: Iterable[str], path: Path) -> str:
    """Return the folder of the repository within the archive, with its slash, or raise WrongUse."""
    found = [name.removesuffix(_MARK) for name in names if name == _MARK or name.endswith(f"/{_MARK}")]
    if len(found) != 1:
        raise WrongUse(
            f"{path} has {len(found) or 'no'} metadata/: expected an archive of one copied repository; "
            "a lone bundle is not signed"
        )
    return found[0]
