"""An install from an archive of a copied repository: the same checks as from a folder, and nothing is unpacked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.installs import MODEL, RUNTIMES
from tests.samples import Publisher, bundle
from tests.served import DevicePort

from sprat_device import __main__ as entry
from sprat_device.board.enrol import enrol
from sprat_device.board.files import OsFiles
from sprat_device.contract.errors import BundleRefused, HubUnreachable, WrongUse
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.install import updater
from sprat_device.install.archive import ArchiveOrigin
from sprat_device.install.offline import install_copy
from sprat_device.install.origins import FileMissing, TryLater
from sprat_device.install.record import Records

pytestmark = pytest.mark.integration

Write = Callable[[Path, dict[str, bytes]], None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An enrolled device."""
    publisher = Publisher(tmp_path / "publisher")
    publisher.release(bundle(tmp_path / "one.sprat", fill=b"one"))
    with DevicePort(tmp_path / "port", tmp_path / "publisher/repository") as port:
        enrol(port.url, port.token().dump(), tmp_path / "state", device="d1")
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def good_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater, "CHECK", ("/bin/sh", "-c", 'echo \'{"ok": true, "latency_us": {}}\'', "check"))


def held(tmp_path: Path, top: str = "") -> dict[str, bytes]:
    """Return the files of the publisher's repository."""
    folder = tmp_path / "publisher/repository"
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {f"{top}{path.relative_to(folder)}": path.read_bytes() for path in found}


def zipped(compression: int) -> Write:
    def write(path: Path, files: dict[str, bytes]) -> None:
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in files.items():
                archive.writestr(name, data)

    return write


def tarred(mode: str) -> Write:
    def write(path: Path, files: dict[str, bytes]) -> None:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, data in files.items():
                entry_ = tarfile.TarInfo(name)
                entry_.size = len(data)
                archive.addfile(entry_, io.BytesIO(data))

    return write


STORED, DEFLATED, TAR, GZ, XZ = (
    zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_DEFLATED), tarred("w"), tarred("w:gz"), tarred("w:xz"),
)  # fmt: skip


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Write, dict[str, bytes]], ArchiveOrigin]]:
    with ExitStack() as ending:

        def make(write: Write, files: dict[str, bytes]) -> ArchiveOrigin:
            write(tmp_path / "copy", files)
            return ending.enter_context(closing(ArchiveOrigin(tmp_path / "copy")))

        yield make


@pytest.mark.parametrize("write", [STORED, DEFLATED, TAR, GZ, XZ])
@pytest.mark.parametrize("top", ["", "repository/", "./"])
def test_an_archive_is_as_good_as_a_folder(state: Path, tmp_path: Path, write: Write, top: str) -> None:
    write(tmp_path / "copy", held(tmp_path, top))
    assert "release 1 is checked" in install_copy(state, tmp_path / "copy", runtimes=RUNTIMES)[MODEL]
    assert Records(OsFiles(), state).load(MODEL).phase is Phase.CHECKED


def test_it_is_a_command(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["install", str(tmp_path / "one.sprat"), "--state", str(state)]) == 2
    assert "a lone bundle is not signed" in capsys.readouterr().err
    assert entry.main(["install", str(tmp_path / "absent.zip"), "--state", str(state)]) == 2
    assert "absent.zip: not there" in capsys.readouterr().err


@pytest.mark.parametrize("write", [STORED, GZ])
def test_a_changed_bundle_in_it_is_refused(state: Path, tmp_path: Path, write: Write) -> None:
    files = held(tmp_path)
    (name,) = (name for name in files if name.endswith(".sprat"))
    write(tmp_path / "copy", {**files, name: files[name][:-1] + b"?"})
    with pytest.raises(BundleRefused, match="hash-mismatch"):
        install_copy(state, tmp_path / "copy", runtimes=RUNTIMES)


def test_a_bomb_is_read_no_further_than_its_signed_length(state: Path, tmp_path: Path) -> None:
    DEFLATED(tmp_path / "copy", {**held(tmp_path), "metadata/timestamp.json": bytes(64 * 1024 * 1024)})
    with pytest.raises(BundleRefused, match="length-mismatch"):
        install_copy(state, tmp_path / "copy", runtimes=RUNTIMES)


@pytest.mark.parametrize("write", [STORED, TAR])
def test_a_file_is_read_from_where_it_is_wanted(
    opened: Callable[[Write, dict[str, bytes]], ArchiveOrigin], write: Write
) -> None:
    data = bytes(range(256)) * 10
    origin = opened(write, {"metadata/timestamp.json": b"{}", "targets/a/b": data})
    begin, chunks = origin.target("a/b", 1_001)
    assert begin == 1_001
    assert b"".join(chunks) == data[begin:], "the rest and nothing else"
    with pytest.raises(FileMissing, match="archive the repository whole"):
        origin.metadata("snapshot.json")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_is_none_in_a_repository(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "copy", "w") as archive:
        mark = tarfile.TarInfo("metadata/timestamp.json")
        archive.addfile(mark, io.BytesIO(b""))
        odd = tarfile.TarInfo("targets/x")
        odd.type, odd.linkname = kind, "/etc/passwd"
        archive.addfile(odd)
    with closing(ArchiveOrigin(tmp_path / "copy")) as origin, pytest.raises(FileMissing):
        origin.target("x", 0)


def damaged_size(size: int) -> Write:
    """Write a name of so many bytes, as a header says whose size was damaged."""

    def write(path: Path, _files: dict[str, bytes]) -> None:
        entry = tarfile.TarInfo("x")
        entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, size
        path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))

    return write


@pytest.mark.parametrize(
    ("write", "files"),
    [
        (STORED, {"a/metadata/timestamp.json": b"", "b/metadata/timestamp.json": b""}),
        (TAR, {"metadata": b""}),
        (lambda path, _files: path.write_bytes(b"PK\3\4 and no more"), {}),
        (lambda path, _files: path.write_bytes(b"\x1f\x8b and no more"), {}),
        (lambda path, _files: path.write_bytes(b""), {}),
        (damaged_size(2**62), {}),  # more than the memory holds
        (damaged_size(2**64), {}),  # more than an index
    ],
)
def test_what_is_no_archive_of_one_repository_is_told_in_one_line(
    opened: Callable[[Write, dict[str, bytes]], ArchiveOrigin], write: Write, files: dict[str, bytes]
) -> None:
    with pytest.raises(WrongUse) as told:
        opened(write, files)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("write", [DEFLATED, GZ, XZ])
def test_damage_inside_is_trouble_and_no_traceback(tmp_path: Path, state: Path, write: Write) -> None:
    write(tmp_path / "copy", held(tmp_path))
    data = bytearray((tmp_path / "copy").read_bytes())
    for place in range(200, len(data) - 400, 7):
        data[place] ^= 0x55
    (tmp_path / "copy").write_bytes(data)
    with pytest.raises((WrongUse, TryLater, BundleRefused, HubUnreachable)):
        install_copy(state, tmp_path / "copy", runtimes=RUNTIMES)
