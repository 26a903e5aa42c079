import json
from pathlib import Path

import pytest
from tests.samples import bundle

from sprat.cli import main
from sprat.publish.bundle import digest_of


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two bundles, and a repository in a folder whose keys are encrypted."""
    monkeypatch.setenv("SPRAT_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("SPRAT_SETTINGS", str(tmp_path / "settings.toml"))
    (tmp_path / "settings.toml").write_text("")
    monkeypatch.setenv("SPRAT_KEY_PASSPHRASE", "correct horse")
    monkeypatch.delenv("SPRAT_HUB", raising=False)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bundle(tmp_path / name / "digits.sprat", fill=name.encode())
    assert main(["keys", "init", "--repo", str(tmp_path / "repo"), "--simple", "--quiet"]) == 0
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments] + ["--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_way_of_a_release(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = ("--repo", shop / "repo")
    first = run(capsys, "release", shop / "one/digits.sprat", "--channel", "canary", *repo)
    digest = digest_of(shop / "one/digits.sprat")
    assert first["releases"] == [
        {"model": "digits", "release_seq": 1, "target": "generic", "channel": "canary", "bundle": digest,
         "bytes": (shop / "one/digits.sprat").stat().st_size, "rollback_of": 0}
    ]  # fmt: skip
    assert (
        run(capsys, "release", shop / "two/digits.sprat", "--channel", "canary", *repo)["releases"][0]["release_seq"]
        == 2
    )  # type: ignore[index]
    promoted = run(capsys, "promote", "digits@1", "--to", "stable", *repo)["releases"][0]  # type: ignore[index]
    assert (promoted["release_seq"], promoted["channel"]) == (1, "stable")
    back = run(capsys, "rollback", "canary", "--to", 1, *repo)["releases"][0]  # type: ignore[index]
    assert (back["release_seq"], back["rollback_of"], back["bundle"]) == (3, 2, digest)
    assert run(capsys, "withdraw", "digits@1", *repo)["channels"] == ["canary", "stable"]
    assert "not listed" in fails(capsys, 2, "withdraw", "digits@1", *repo)


def test_measurements_of_another_bundle_are_not_signed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = shop / "one/digits.sprat"
    (shop / "one/measured.json").write_text(json.dumps({"bundle": "0" * 64, "ram_peak_kib": 7}))
    said = fails(capsys, 2, "release", file, "--channel", "canary", "--repo", shop / "repo")
    assert "of another bundle" in said
    (shop / "one/measured.json").write_text(json.dumps({"bundle": digest_of(file), "ram_peak_kib": 7}))
    run(capsys, "release", file, "--channel", "canary", "--repo", shop / "repo")
    role = json.loads((shop / "repo/metadata/2.canary.json").read_bytes())
    (entry,) = role["signed"]["targets"].values()
    assert entry["custom"]["ram_peak_kib"] == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "digits", "--to", "stable"), "expected MODEL@SEQ"),
        (("promote", "digits@9", "--to", "stable"), "no channel lists"),
        (("rollback", "canary", "--to", "1"), "name the model"),
        (("release", "nothing.sprat", "--channel", "canary"), "no such bundle"),
        (("release", "one/digits.sprat", "--channel", "nightly"), "this repository has canary, beta, stable"),
    ],
)
def test_wrong_use_is_one_line(
    shop: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(shop)
    assert said in fails(capsys, 2, *arguments, "--repo", "repo")


def test_nowhere_to_publish_to(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, 2, "release", shop / "one/digits.sprat", "--channel", "canary")
    assert "--hub" in said


def test_a_wrong_passphrase(shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRAT_KEY_PASSPHRASE", "wrong")
    arguments = ("release", shop / "one/digits.sprat", "--channel", "canary", "--repo", shop / "repo")
    assert "wrong passphrase" in fails(capsys, 2, *arguments)


def test_keys_show_tells_nothing_secret(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.dumps(run(capsys, "keys", "show"))
    assert "PRIVATE" not in shown
    assert "stable-1" in shown
