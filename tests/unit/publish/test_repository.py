from datetime import timedelta
from pathlib import Path

import pytest
from tests.samples import NOW, Publisher, bundle, no_passphrase
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from sprat.errors import Refused, WrongUse
from sprat.publish.keys import create_online_key, online_signer
from sprat.publish.repository import (
    MAX_ENTRIES,
    Prepared,
    Repository,
    initial_metadata,
    prepare_promotion,
    prepare_release,
    prepare_withdrawal,
)
from sprat_device.contract.errors import BundleRefused
from sprat_device.contract.ids import Channel
from sprat_device.contract.release import ISSUED

CANARY, STABLE = Channel("canary"), Channel("stable")


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher", now=NOW)


def prepared(
    publisher: Publisher, file: Path, *, number: int, channel: Channel = CANARY, **measured: object
) -> Prepared:
    role = publisher.repository.role_bytes(channel)
    keys = publisher.keys.signers(channel, passphrase=no_passphrase)
    return prepare_release(role, [(file, measured)], channel=channel, release_seq=number, signers=keys, now=NOW)


def timestamp(publisher: Publisher) -> Timestamp:
    return Metadata[Timestamp].from_bytes(publisher.repository.role_bytes("timestamp")).signed


def test_a_release_is_listed_with_what_is_signed_of_it(publisher: Publisher, tmp_path: Path) -> None:
    file = bundle(tmp_path / "a.sprat")
    path = publisher.release(file, measured={"arch": ["aarch64"], "ram_peak_kib": 900, "signed": {"p50": 1.5}})
    (one,) = publisher.repository.listing()
    assert (one.path, one.length, one.channel) == (path, file.stat().st_size, "canary")
    assert (one.release.arch, one.release.ram_peak_kib, one.release.release_seq) == (("aarch64",), 900, 1)
    assert one.release.measured == {"p50": "1.5"}  # canonical JSON knows no fractions
    assert (publisher.repository.folder / "targets" / one.stored_as).read_bytes() == file.read_bytes()


def test_the_timestamp_says_when_it_was_issued(publisher: Publisher) -> None:
    assert timestamp(publisher).unrecognized_fields[ISSUED] == "2026-06-01T12:00:00Z"
    publisher.at(NOW + timedelta(days=1)).refresh_timestamp()
    assert timestamp(publisher).unrecognized_fields[ISSUED] == "2026-06-02T12:00:00Z"
    assert timestamp(publisher).version == 2


def test_a_snapshot_that_ends_soon_is_signed_anew_with_the_timestamp(publisher: Publisher) -> None:
    def snapshot() -> Snapshot:
        return Metadata[Snapshot].from_bytes(publisher.repository.role_bytes("snapshot")).signed

    publisher.at(NOW + timedelta(days=59)).refresh_timestamp()
    assert snapshot().version == 1
    publisher.at(NOW + timedelta(days=61)).refresh_timestamp()
    assert snapshot().version == 2
    assert snapshot().expires == NOW + timedelta(days=61 + 90)


def test_snapshot_and_timestamp_say_length_and_hash(publisher: Publisher) -> None:
    meta = timestamp(publisher).snapshot_meta
    assert meta.length
    assert meta.hashes
    snapshot = Metadata[Snapshot].from_bytes(publisher.repository.role_bytes("snapshot")).signed
    assert set(snapshot.meta) == {"targets.json", "canary.json", "beta.json", "stable.json"}
    assert all(one.length and one.hashes for one in snapshot.meta.values())


def test_a_number_means_the_same_bytes_for_ever(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release(bundle(tmp_path / "a.sprat"))
    other = bundle(tmp_path / "b.sprat", fill=b"other")
    with pytest.raises(Refused, match="number-taken"):
        prepared(publisher, other, number=1)
    # Not in another channel either, and not once it was withdrawn.
    elsewhere = prepared(publisher, other, number=1, channel=STABLE)
    with pytest.raises(Refused, match="number-taken"):
        publisher.repository.accept(STABLE, elsewhere.role, elsewhere.files)
    gone = prepare_withdrawal(
        publisher.repository.role_bytes(CANARY), channel=CANARY, model="digits", release_seq=1,
        signers=publisher.keys.signers(CANARY, passphrase=no_passphrase), now=NOW,
    )  # fmt: skip
    assert publisher.repository.accept(CANARY, gone.role, {}) == []
    assert publisher.repository.listing() == []
    again = prepared(publisher, other, number=1)
    with pytest.raises(Refused, match="the next is 2"):
        publisher.repository.accept(CANARY, again.role, again.files)


def test_promotion_needs_no_bytes_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release(bundle(tmp_path / "a.sprat"))
    keys = publisher.keys.signers(STABLE, passphrase=no_passphrase)
    promoted = prepare_promotion(
        publisher.repository.role_bytes(STABLE), publisher.repository.listing(), channel=STABLE, signers=keys, now=NOW
    )
    publisher.repository.accept(STABLE, promoted.role, {})
    one, two = publisher.repository.listing()
    assert (one.bundle, one.key) == (two.bundle, two.key)
    assert (publisher.repository.folder / "targets" / two.stored_as).exists()


def test_a_rollback_is_a_new_number_for_old_bytes(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release(bundle(tmp_path / "a.sprat"))
    publisher.release(bundle(tmp_path / "b.sprat", fill=b"b"))
    old = [one for one in publisher.repository.listing() if one.release.release_seq == 1]
    back = prepare_promotion(
        publisher.repository.role_bytes(CANARY), old, channel=CANARY, release_seq=3, rollback_of=2,
        signers=publisher.keys.signers(CANARY, passphrase=no_passphrase), now=NOW,
    )  # fmt: skip
    (new,) = publisher.repository.accept(CANARY, back.role, {})
    assert (new.bundle, new.release.release_seq, new.release.rollback_of) == (old[0].bundle, 3, 2)


def test_two_publishers_at_once(publisher: Publisher, tmp_path: Path) -> None:
    one = prepared(publisher, bundle(tmp_path / "a.sprat"), number=1)
    two = prepared(publisher, bundle(tmp_path / "b.sprat", fill=b"b"), number=1)
    publisher.repository.accept(CANARY, one.role, one.files)
    with pytest.raises(Refused, match="stale"):
        publisher.repository.accept(CANARY, two.role, two.files)


def test_bytes_that_are_not_the_signed_ones(publisher: Publisher, tmp_path: Path) -> None:
    release = prepared(publisher, bundle(tmp_path / "a.sprat"), number=1)
    other = bundle(tmp_path / "b.sprat", fill=b"b")
    with pytest.raises(Refused, match="hash-mismatch"):
        publisher.repository.accept(CANARY, release.role, dict.fromkeys(release.files, other))
    with pytest.raises(WrongUse, match="neither sent nor known"):
        publisher.repository.accept(CANARY, release.role, {})
    with pytest.raises(WrongUse, match="does not newly list"):
        publisher.repository.accept(CANARY, release.role, {**release.files, "canary/digits/9/x.sprat": other})
    assert publisher.repository.listing() == []


def test_only_bundles_can_be_released(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "no.sprat").write_bytes(b"not a bundle")
    with pytest.raises(BundleRefused, match="bad-bundle"):
        prepared(publisher, tmp_path / "no.sprat", number=1)


def test_what_was_cut_between_role_and_timestamp_is_published_later(publisher: Publisher, tmp_path: Path) -> None:
    release = prepared(publisher, bundle(tmp_path / "a.sprat"), number=1)
    saved = (publisher.repository.folder / "metadata/timestamp.json").read_bytes()
    publisher.repository.accept(CANARY, release.role, release.files)
    snapshot = publisher.repository.folder / "metadata/2.snapshot.json"
    snapshot.unlink()
    (publisher.repository.folder / "metadata/timestamp.json").write_bytes(saved)
    (publisher.repository.folder / "series.json").unlink()
    again = Repository(publisher.repository.folder, publisher.online, now=NOW)
    assert again.next_release_seq("digits") == 2
    again.refresh_timestamp()
    assert snapshot.exists()
    assert timestamp(publisher).snapshot_meta.version == 2


def test_old_releases_leave_a_channel_that_is_full(publisher: Publisher, tmp_path: Path) -> None:
    for number in range(1, MAX_ENTRIES + 3):
        publisher.release(bundle(tmp_path / f"{number}.sprat", fill=str(number).encode(), size=100))
    listed = sorted(one.release.release_seq for one in publisher.repository.listing())
    assert listed == list(range(3, MAX_ENTRIES + 3))


def test_a_repository_is_founded_once_and_whole(publisher: Publisher, tmp_path: Path) -> None:
    metadata = initial_metadata(publisher.keys, publisher.online.public_key, passphrase=no_passphrase, now=NOW)
    with pytest.raises(WrongUse, match="already"):
        Repository.found(publisher.repository.folder, metadata, publisher.online)
    with pytest.raises(WrongUse, match="lacks"):
        Repository.found(tmp_path / "a", {k: v for k, v in metadata.items() if k != "1.beta.json"}, publisher.online)
    with pytest.raises(WrongUse, match="nothing else"):
        Repository.found(tmp_path / "b", {**metadata, "../evil.json": b"x"}, publisher.online)
    torn = {**metadata, "1.targets.json": metadata["1.targets.json"].replace(b'"version":1', b'"version":2')}
    with pytest.raises(Refused, match="hold together"):
        Repository.found(tmp_path / "c", torn, publisher.online)
    create_online_key(tmp_path / "other.pem")
    with pytest.raises(Refused, match="online-key"):
        Repository.found(tmp_path / "d", metadata, online_signer(tmp_path / "other.pem"))
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name in "abcd"]


def test_offline_roles_cannot_be_signed_by_the_online_key(publisher: Publisher) -> None:
    with pytest.raises(Refused, match="offline"), publisher.repository.edit_targets("canary"):
        pass
