"""The hub's commands: what they send, what they print, and how they end when something is wrong."""

from __future__ import annotations

import json
import socket

import pytest

from sprat.cli import main
from sprat.cli.connection import age
from sprat.cli.rollout import _spec
from sprat.errors import WrongUse

NOUNS = {
    "hub": ("init", "run", "status"),
    "enrol": ("token", "replace", "list", "revoke"),
    "fleet": ("list", "show", "label", "set"),
    "rollout": ("plan", "start", "list", "show", "watch", "pause", "resume", "abort"),
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPRAT_HUB", "SPRAT_TOKEN", "SPRAT_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.mark.parametrize(("noun", "verb"), [(noun, verb) for noun, verbs in NOUNS.items() for verb in verbs])
def test_every_command_has_an_example(noun: str, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([noun, verb, "--help"]) == 0
    assert f"Example: sprat {noun} {verb}" in " ".join(capsys.readouterr().out.split())


def test_without_a_hub_the_remedy_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "list"]) == 2
    assert "give --hub URL or set SPRAT_HUB" in capsys.readouterr().err


def test_a_hub_that_does_not_answer_is_exit_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, nobody else takes it
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("SPRAT_TOKEN", "any")
        assert main(["fleet", "list", "--hub", url, "--json"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert url in said.err


def test_waves_and_cohorts_as_people_write_them() -> None:
    spec = _spec("digits@3", "canary", ["1", "a,b", "10%", "100%"], None, ["room=kitchen"])
    assert spec["waves"] == [{"count": 1}, {"devices": ["a", "b"]}, {"percent": 10.0}, {"percent": 100.0}]
    assert spec["cohort"] == {"labels": {"room": "kitchen"}}
    assert _spec("digits@3", "canary", None, None, None)["cohort"] == {"all": True}
    assert _spec("digits@3", "canary", None, ["d1"], None)["cohort"] == {"devices": ["d1"]}
    assert json.loads(json.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("release", "waves", "devices", "labels"),
    [
        ("digits", None, None, None),
        ("digits@x", None, None, None),
        ("digits@1", ["ten%"], None, None),
        ("digits@1", None, ["d1"], ["a=b"]),
        ("digits@1", None, None, ["a"]),
    ],
)
def test_crooked_rollouts_are_wrong_use(
    release: str, waves: list[str] | None, devices: list[str] | None, labels: list[str] | None
) -> None:
    with pytest.raises(WrongUse, match=r"expected|not both"):
        _spec(release, "canary", waves, devices, labels)


def test_ages() -> None:
    second = 1_000_000
    assert [age(0, 5), age(1, 90 * second), age(1, 1 + 7200 * second)] == ["never", "89 s ago", "2 h ago"]
