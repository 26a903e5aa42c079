"""The attack table of the design, row by row: what a hostile hub, a stolen key or a liar of a clock cannot do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.installs import MODEL, RUNTIMES, Board, check_that_says, clock_at, offer_of
from tests.samples import NOW, Publisher, bundle, no_passphrase
from tuf.api.metadata import Metadata, Root, Targets, Timestamp

from sprat.errors import Refused
from sprat.publish.keys import create_online_key, online_signer
from sprat.publish.repository import Repository, prepare_release
from sprat_device.board.files import OsFiles
from sprat_device.contract.errors import BundleRefused, ContractError
from sprat_device.contract.ids import Channel, model_name
from sprat_device.contract.phases import ClockState, Reason
from sprat_device.contract.phases import InstallPhase as Phase
from sprat_device.install.fit import Machine
from sprat_device.install.floors import ReleaseFloors
from sprat_device.install.origins import FolderOrigin

pytestmark = pytest.mark.faults
DAY = timedelta(days=1)


class Scene:
    """A publisher with one release, a device that runs it, and an attacker's copy of the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher", now=NOW)
        self.bundle = bundle(folder / "1.sprat")
        self.path = self.publisher.release(self.bundle)
        self.offer = offer_of(self.path, self.bundle)

    @property
    def repository(self) -> Path:
        return self.publisher.folder / "repository"

    def copy(self, name: str = "hostile") -> Path:
        return Path(shutil.copytree(self.repository, self.folder / name))

    def board(self, name: str = "device", **more: Any) -> Board:
        return Board(self.folder / name, self.publisher, **more)

    def running(self, name: str = "device", **more: Any) -> Board:
        board = self.board(name, **more)
        board.installer.boot()
        board.install(self.offer)
        assert board.record.phase is Phase.CONFIRMED, board.record
        return board

    def second(self) -> tuple[Path, str]:
        path = bundle(self.folder / "2.sprat", fill=b"two")
        return path, self.publisher.release(path)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def stored(repository: Path, path: str) -> Path:
    folder, _, name = path.rpartition("/")
    (found,) = (repository / "targets" / folder).glob(f"*.{name}")
    return found


def refused(board: Board, offer: Any, reason: Reason) -> None:
    install = board.work_on(offer)
    assert (install.phase, install.reason) == (Phase.REFUSED, reason), install
    assert install.detail


# Arbitrary install


def test_flipped_bit_in_a_bundle(scene: Scene) -> None:
    file = stored(scene.repository, scene.path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    board = scene.board()
    refused(board, scene.offer, Reason.HASH_MISMATCH)
    assert list((board.state / "bundles").iterdir()) == []  # nothing half-made stays


def test_flipped_bit_in_signed_metadata(scene: Scene) -> None:
    hostile = scene.copy()
    file = hostile / "metadata" / "timestamp.json"
    file.write_bytes(file.read_bytes().replace(b'"version":2', b'"version":3'))
    refused(scene.board(origin=FolderOrigin(hostile)), scene.offer, Reason.SIGNATURE)


def test_repository_of_other_keys(scene: Scene, tmp_path: Path) -> None:
    stranger = Publisher(tmp_path / "stranger", now=NOW)
    stranger.release(scene.bundle)
    refused(scene.board(origin=FolderOrigin(tmp_path / "stranger/repository")), scene.offer, Reason.SIGNATURE)


def test_channel_below_its_threshold(scene: Scene, tmp_path: Path) -> None:
    strict = Publisher(tmp_path / "strict", simple=False, now=NOW)
    one_of_two = strict.keys.signers("stable", passphrase=no_passphrase)[:1]
    prepared = prepare_release(
        strict.repository.role_bytes("stable"), [(scene.bundle, {})], channel=Channel("stable"), release_seq=1,
        signers=one_of_two, now=NOW,
    )  # fmt: skip
    with pytest.raises(Refused, match="signature"):
        strict.repository.accept("stable", prepared.role, prepared.files)
    # And where the hub is the attacker, the device itself refuses.
    publish_by_force(strict, "stable", prepared.role)
    board = Board(tmp_path / "device", strict, channel="stable")
    path = next(iter(prepared.files))
    refused(board, offer_of(path, scene.bundle), Reason.SIGNATURE)


def publish_by_force(publisher: Publisher, channel: str, role: bytes) -> None:
    """Put a channel role in place without any check, and sign snapshot and timestamp: a stolen online key can."""
    version = Metadata[Targets].from_bytes(role).signed.version
    (publisher.repository.folder / "metadata" / f"{version}.{channel}.json").write_bytes(role)
    publisher.repository.publish()


def test_bundle_whose_manifest_is_of_another_target(scene: Scene, tmp_path: Path) -> None:
    other = bundle(tmp_path / "other.sprat", target="other")
    keys = scene.publisher.keys.signers("canary", passphrase=no_passphrase)
    role = scene.publisher.repository.role_bytes("canary")
    prepared = prepare_release(role, [(other, {})], channel=Channel("canary"), release_seq=2, signers=keys, now=NOW)
    metadata = Metadata[Targets].from_bytes(prepared.role)
    entry = metadata.signed.targets.pop("canary/digits/2/other.sprat")
    entry.path = "canary/digits/2/generic.sprat"
    entry.unrecognized_fields["custom"]["target"] = "generic"
    metadata.signed.targets[entry.path] = entry
    metadata.sign(keys[0])
    with pytest.raises(BundleRefused, match="manifest-mismatch"):
        scene.publisher.repository.accept("canary", metadata.to_bytes(), {entry.path: other})
    publish_by_force(scene.publisher, "canary", metadata.to_bytes())
    place = scene.repository / "targets/canary/digits/2" / f"{entry.hashes['sha256']}.generic.sprat"
    place.parent.mkdir(parents=True)
    shutil.copy(other, place)
    refused(scene.board(), offer_of(entry.path, other), Reason.MANIFEST_MISMATCH)


def test_golden_set_that_this_device_does_not_reproduce(scene: Scene) -> None:
    check = check_that_says({"ok": False, "reason": "golden-mismatch", "detail": "off by 3"}, 1)
    refused(scene.board(check=check), scene.offer, Reason.GOLDEN_MISMATCH)


def test_check_that_crashes(scene: Scene) -> None:
    refused(scene.board(check=("/bin/sh", "-c", "kill -SEGV $$", "check")), scene.offer, Reason.CHECK_FAILED)


# Rollback


def looks(board: Board) -> int:
    """Let a device verify its origin, and return how many releases it sees."""
    return len(board.ports.trust.listed(board.ports.origin, Channel("canary"), MODEL))


def forget(board: Board) -> None:
    """Damage every file that python-tuf relies on, as a worn card or a power cut does; the floors stay."""
    for file in (board.state / "tuf").rglob("*.json"):
        file.write_bytes(b"")


def test_old_timestamp_after_the_local_one_was_truncated(scene: Scene) -> None:
    old = scene.copy("old")
    scene.publisher.at(NOW).refresh_timestamp()  # all that changes is the timestamp's version
    board = scene.running()
    (board.state / "tuf" / "timestamp.json").write_bytes(b"")
    with pytest.raises(BundleRefused, match="metadata-rollback"):
        looks(scene.board(origin=FolderOrigin(old)))


def test_old_repository_after_all_local_metadata_was_lost(scene: Scene) -> None:
    old = scene.copy("old")
    scene.second()
    board = scene.running()
    forget(board)
    with pytest.raises(BundleRefused, match="metadata-rollback"):
        looks(scene.board(origin=FolderOrigin(old)))
    assert looks(scene.board()) == 2  # and the true one heals the device


def test_hub_offers_an_older_release_that_is_still_listed(scene: Scene) -> None:
    board = scene.running()
    ReleaseFloors(OsFiles(), board.state).raise_to(MODEL, 9)
    again = scene.board()
    other = offer_of(scene.path, scene.bundle)
    third, path = scene.second()
    assert path.startswith("canary/digits/2/")
    refused(again, offer_of(path, third), Reason.BELOW_FLOOR)
    assert other.release_seq < 9


def test_damaged_floors_stop_installs_but_not_the_running_bundle(scene: Scene) -> None:
    board = scene.running()
    for side in "ab":
        file = board.state / f"floors.{side}"
        if file.exists():
            file.write_bytes(b"damaged")
    second, path = scene.second()
    again = scene.board()
    refused(again, offer_of(path, second), Reason.METADATA_ROLLBACK)
    active = again.installer.active(MODEL)
    assert active is not None
    assert active[0].bundle == scene.offer.bundle


# Freeze


@pytest.mark.parametrize("year", [1970, 2040])
def test_install_with_a_clock_that_is_not_set(scene: Scene, year: int) -> None:
    clock = clock_at(datetime(year, 1, 1, tzinfo=UTC), state=ClockState.UNSYNCHRONISED)
    assert scene.running(clock=clock).record.phase is Phase.CONFIRMED


def test_expired_timestamp_is_refused_under_a_set_clock(scene: Scene) -> None:
    refused(scene.board(clock=clock_at(NOW + 31 * DAY)), scene.offer, Reason.METADATA_EXPIRED)


def test_replayed_timestamp_expires_by_uptime_alone(scene: Scene) -> None:
    clock = clock_at(datetime(1970, 1, 1, tzinfo=UTC), state=ClockState.UNSYNCHRONISED)
    scene.running(clock=clock)
    second, path = scene.second()
    frozen = scene.copy("frozen")
    clock.advance(31 * 86_400)  # signed time + uptime has passed the end
    refused(scene.board(clock=clock, origin=FolderOrigin(frozen)), offer_of(path, second), Reason.METADATA_EXPIRED)


def test_a_false_time_server_does_not_lock_a_device_for_ever(scene: Scene) -> None:
    scene.running()
    second, path = scene.second()
    lied_to = scene.board(clock=clock_at(datetime(2040, 1, 1, tzinfo=UTC)))
    refused(lied_to, offer_of(path, second), Reason.METADATA_EXPIRED)
    later = scene.board(clock=clock_at(NOW + DAY))
    install = later.work_on(offer_of(path, second, rollout="again"))
    assert install.phase is Phase.CHECKED


# Mix and match, endless data


def test_old_channel_role_under_a_new_snapshot(scene: Scene) -> None:
    scene.second()
    hostile = scene.copy()
    shutil.copy(hostile / "metadata/2.canary.json", hostile / "metadata/3.canary.json")
    refused(scene.board(origin=FolderOrigin(hostile)), scene.offer, Reason.HASH_MISMATCH)


class EndlessOrigin(FolderOrigin):
    """Sends more than was signed."""

    def __init__(self, folder: Path, *, name: str = "", extra: int = 0) -> None:
        super().__init__(folder)
        self._name = name
        self._extra = extra

    def metadata(self, name: str) -> Iterator[bytes]:
        yield from super().metadata(name)
        if name == self._name:
            while True:
                yield b" " * 4096

    def target(self, stored_as: str, offset: int) -> tuple[int, Iterator[bytes]]:
        begin, chunks = super().target(stored_as, offset)

        def longer() -> Iterator[bytes]:
            yield from chunks
            yield b"x" * self._extra

        return begin, longer()


def test_endless_timestamp(scene: Scene) -> None:
    origin = EndlessOrigin(scene.repository, name="timestamp.json")
    refused(scene.board(origin=origin), scene.offer, Reason.LENGTH_MISMATCH)


def test_bundle_with_a_kilobyte_too_much(scene: Scene) -> None:
    refused(scene.board(origin=EndlessOrigin(scene.repository, extra=1024)), scene.offer, Reason.LENGTH_MISMATCH)


# Stolen keys


def test_stolen_channel_key_cannot_list_into_another_channel(scene: Scene, tmp_path: Path) -> None:
    keys = scene.publisher.keys.signers("canary", passphrase=no_passphrase)
    role = scene.publisher.repository.role_bytes("canary")
    prepared = prepare_release(
        role, [(scene.bundle, {})], channel=Channel("stable"), release_seq=2, signers=keys, now=NOW
    )
    with pytest.raises(Refused, match="bad-path"):
        scene.publisher.repository.accept("canary", prepared.role, prepared.files)
    publish_by_force(scene.publisher, "canary", prepared.role)
    board = scene.board(channel="stable")
    refused(board, offer_of(next(iter(prepared.files)), scene.bundle), Reason.NOT_LISTED)


def test_online_key_alone_publishes_nothing(scene: Scene, tmp_path: Path) -> None:
    other = bundle(tmp_path / "evil.sprat", fill=b"evil")
    prepared = prepare_release(
        scene.publisher.repository.role_bytes("canary"), [(other, {})], channel=Channel("canary"), release_seq=2,
        signers=[scene.publisher.online], now=NOW,
    )  # fmt: skip
    with pytest.raises(Refused, match="signature"):
        scene.publisher.repository.accept("canary", prepared.role, prepared.files)
    publish_by_force(scene.publisher, "canary", prepared.role)
    refused(scene.board(), offer_of(next(iter(prepared.files)), other), Reason.SIGNATURE)


def rotate_online_key(scene: Scene) -> Repository:
    """Give the repository another online key by a new root, as its owner does after a theft."""
    create_online_key(scene.folder / "new-online.pem")
    online = online_signer(scene.folder / "new-online.pem")
    metadata = Metadata[Root].from_bytes(scene.publisher.repository.root_bytes())
    for role in ("snapshot", "timestamp"):
        metadata.signed.revoke_key(scene.publisher.online.public_key.keyid, role)
        metadata.signed.add_key(online.public_key, role)
    create_online_key(scene.folder / "root-2.pem")  # a further root key too: its floor must outlive that
    metadata.signed.add_key(online_signer(scene.folder / "root-2.pem").public_key, "root")
    metadata.signed.version = 2
    metadata.signatures.clear()
    metadata.sign(scene.publisher.keys.signers("root", passphrase=no_passphrase)[0])
    (scene.repository / "metadata/2.root.json").write_bytes(metadata.to_bytes())
    repository = Repository(scene.repository, online, now=NOW)
    repository.publish()
    return repository


def test_stolen_online_key_is_outlived_by_a_rotation(scene: Scene) -> None:
    """The thief signs a timestamp of 2040 with a huge version: neither time nor floor may stay with the device."""
    clock = clock_at(datetime(1970, 1, 1, tzinfo=UTC), state=ClockState.UNSYNCHRONISED)
    stolen = scene.copy("stolen")
    file = stolen / "metadata/timestamp.json"
    forged = Metadata[Timestamp].from_bytes(file.read_bytes())
    forged.signed.version = 1 << 20
    forged.signed.expires = datetime(2041, 1, 1, tzinfo=UTC)
    forged.signed.unrecognized_fields["issued"] = "2040-01-01T00:00:00Z"
    forged.sign(scene.publisher.online)
    file.write_bytes(forged.to_bytes())
    assert looks(scene.board(clock=clock, origin=FolderOrigin(stolen))) == 1
    with pytest.raises(BundleRefused):
        looks(scene.board(clock=clock))  # now the true repository seems to be old and long ended
    rotate_online_key(scene)
    assert looks(scene.board(clock=clock)) == 1


def test_a_root_that_was_replaced_cannot_come_back(scene: Scene) -> None:
    before = scene.copy("before")
    rotate_online_key(scene)
    board = scene.board()
    assert looks(board) == 1
    forget(board)
    with pytest.raises(BundleRefused, match="root has version 1, this device has seen 2"):
        looks(scene.board(origin=FolderOrigin(before)))


def test_hub_cannot_move_a_device_to_another_channel(scene: Scene) -> None:
    refused(scene.board(channel="stable"), scene.offer, Reason.NOT_PINNED)


def test_hub_names_another_bundle_than_the_signed_one(scene: Scene) -> None:
    second, path = scene.second()
    lie = offer_of(path, scene.bundle)
    assert second
    refused(scene.board(), lie, Reason.HASH_MISMATCH)


# Wrong device


@pytest.mark.parametrize(
    ("measured", "machine", "reason"),
    [
        ({"arch": ["aarch64"]}, Machine("x86_64", 1 << 20, RUNTIMES), Reason.WRONG_ARCH),
        ({}, Machine("x86_64", 1 << 20, {"onnx": "1.31"}), Reason.WRONG_RUNTIME),
        ({}, Machine("x86_64", 1 << 20, {"litert": "0.9"}), Reason.WRONG_RUNTIME),
        ({"ram_peak_kib": 4096}, Machine("x86_64", 1024, RUNTIMES), Reason.NO_RAM),
    ],
)
def test_release_that_does_not_fit(
    scene: Scene, tmp_path: Path, measured: dict[str, Any], machine: Machine, reason: Reason
) -> None:
    file = bundle(tmp_path / "fit.sprat", fill=b"fit")
    path = scene.publisher.release(file, measured=measured)
    stored(scene.repository, path).unlink()  # it is refused before a byte of it is asked for
    refused(scene.board(machine=machine), offer_of(path, file), reason)


# Path tricks


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\0b", "a/b", "A", "a..b", ".a", "a" * 64, "", "ﬀ"])
def test_names_are_a_closed_alphabet(name: str) -> None:
    with pytest.raises(ContractError):
        model_name(name)


@pytest.mark.parametrize("path", ["canary/../../x", "canary/digits/2/../../x.sprat", "canary/DIGITS/2/generic.sprat"])
def test_paths_that_are_not_what_their_entry_says(scene: Scene, path: str) -> None:
    keys = scene.publisher.keys.signers("canary", passphrase=no_passphrase)
    metadata = Metadata[Targets].from_bytes(scene.publisher.repository.role_bytes("canary"))
    entry = metadata.signed.targets[scene.path]
    metadata.signed.targets[path] = type(entry)(entry.length, entry.hashes, path, dict(entry.unrecognized_fields))
    metadata.signed.version += 1
    metadata.sign(keys[0])
    with pytest.raises(Refused, match="bad-path"):
        scene.publisher.repository.accept("canary", metadata.to_bytes(), {})


def test_unknown_schema_of_a_signed_entry(scene: Scene) -> None:
    keys = scene.publisher.keys.signers("canary", passphrase=no_passphrase)
    metadata = Metadata[Targets].from_bytes(scene.publisher.repository.role_bytes("canary"))
    metadata.signed.targets[scene.path].unrecognized_fields["custom"]["schema"] = "sprat.release/2"
    metadata.signed.version += 1
    metadata.sign(keys[0])
    publish_by_force(scene.publisher, "canary", metadata.to_bytes())
    refused(scene.board(), scene.offer, Reason.UNKNOWN_SCHEMA)
