import stat
from pathlib import Path

import pytest
from tests.samples import no_passphrase

from sprat.errors import MachineLacks, WrongUse
from sprat.publish.keys import INDEX, KeyFolder, create_online_key, online_signer, parse_public, public_document


def secret(_name: str) -> str:
    return "correct horse"


def test_keys_are_encrypted_and_for_their_owner_alone(tmp_path: Path) -> None:
    keys = KeyFolder.create(tmp_path / "keys", passphrase=secret, simple=True)
    for file in keys.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        if file.suffix == ".pem":
            assert b"ENCRYPTED" in file.read_bytes()
    (signer,) = KeyFolder.load(keys.folder).signers("canary", passphrase=secret)
    signature = signer.sign(b"data")
    keys.publics("canary")[1][0].verify_signature(signature, b"data")


def test_a_wrong_passphrase_says_so(tmp_path: Path) -> None:
    keys = KeyFolder.create(tmp_path / "keys", passphrase=secret, simple=True)
    with pytest.raises(WrongUse, match="wrong passphrase"):
        keys.signers("canary", passphrase=lambda _name: "wrong")


def test_thresholds_of_a_strict_and_of_a_simple_folder(tmp_path: Path) -> None:
    strict = KeyFolder.create(tmp_path / "strict", passphrase=no_passphrase)
    simple = KeyFolder.create(tmp_path / "simple", passphrase=no_passphrase, simple=True)
    shape = {role: (threshold, len(publics)) for role in strict.roles for threshold, publics in [strict.publics(role)]}
    assert shape == {"root": (2, 3), "targets": (2, 3), "canary": (1, 2), "beta": (1, 2), "stable": (2, 3)}
    assert {simple.publics(role)[0] for role in simple.roles} == {1}
    assert len(strict.signers("stable", passphrase=no_passphrase)) == 2


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    KeyFolder.create(tmp_path / "keys", passphrase=no_passphrase)
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    with pytest.raises(WrongUse, match="already"):
        KeyFolder.create(tmp_path / "keys", passphrase=no_passphrase)
    (tmp_path / "keys" / INDEX).unlink()
    with pytest.raises(WrongUse, match="already"):
        KeyFolder.create(tmp_path / "keys", passphrase=no_passphrase)
    assert all(path.read_bytes() == data for path, data in before.items() if path.name != INDEX)


def test_a_key_of_another_folder_is_noticed(tmp_path: Path) -> None:
    one = KeyFolder.create(tmp_path / "one", passphrase=no_passphrase, simple=True)
    two = KeyFolder.create(tmp_path / "two", passphrase=no_passphrase, simple=True)
    (one.folder / "canary-1.pem").write_bytes((two.folder / "canary-1.pem").read_bytes())
    with pytest.raises(WrongUse, match="not the key"):
        one.signers("canary", passphrase=no_passphrase)


def test_missing_keys_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(MachineLacks, match="sprat keys init"):
        KeyFolder.load(tmp_path)
    keys = KeyFolder.create(tmp_path / "keys", passphrase=no_passphrase, simple=True)
    (keys.folder / "stable-1.pem").unlink()
    with pytest.raises(MachineLacks, match="role stable"):
        keys.signers("stable", passphrase=no_passphrase)
    with pytest.raises(WrongUse, match="no keys for role 'nightly'"):
        keys.signers("nightly", passphrase=no_passphrase)


def test_the_online_keys_public_half_travels(tmp_path: Path) -> None:
    document = create_online_key(tmp_path / "online.pem")
    key = online_signer(tmp_path / "online.pem").public_key
    assert parse_public(document) == key
    assert document == public_document(key)


@pytest.mark.parametrize(
    "raw", [None, [], {}, {"keyid": "x"}, {"keyid": "x", "keytype": "ed25519", "scheme": "ed25519"}]
)
def test_what_is_no_public_key_is_refused(raw: object) -> None:
    with pytest.raises(WrongUse):
        parse_public(raw)
