"""What of the hub's wishes a device does not follow is told with the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sprat_device.agent.wishes import refused
from sprat_device.board import settings
from sprat_device.board.settings import DeviceSettings
from sprat_device.contract.capture import Wish
from sprat_device.contract.ids import Channel, Digest
from sprat_device.contract.twin import Desired, InputMode, Offer

INPUTS = """
[[inputs]]
model = "door"
kind = "stdin"
format = "json"
[[inputs]]
model = "door"
name = "second"
kind = "file"
path = "/tmp/x"
format = "json"
"""
OFF = {"door/second": InputMode.OFF}
SHADOW = {"door": Offer("r", Channel("canary"), 1, "t", Digest("ab" * 32))}
WISHED = Desired(incarnation="i", version=1)


def local(tmp_path: Path, more: str) -> DeviceSettings:
    (tmp_path / "sprat.toml").write_text(more + INPUTS)
    return settings.load(tmp_path, environment={})


@pytest.mark.parametrize(
    ("more", "wished", "part", "why"),
    [
        ("", replace(WISHED, inputs=OFF), "inputs",
         "remote.inputs is off on this device; its owner allows it by [remote] inputs = true in sprat.toml, and a reload"),
        ("[remote]\ninputs = true", replace(WISHED, inputs={"door/secnd": InputMode.OFF}), "inputs",
         "no input 'door/secnd' here, expected one of door, door/second; did you mean 'door/second'?"),
        ("", replace(WISHED, log_level="loud"), "log_level", "found 'loud', expected one of debug, info, warning, error"),
        ("", replace(WISHED, capture=Wish(random_rate=0.5)), "capture", "capture.enabled is off on this device; its owner"),
        ("[capture]\nenabled = true", replace(WISHED, capture=Wish(labels=("a",))), "capture", "capture.hub_may_tune is off"),
        ("[shadow]\nenabled = false", replace(WISHED, shadows=SHADOW), "shadows", "shadow.enabled is off on this device"),
    ],
)  # fmt: skip
def test_a_refused_wish_has_its_reason_and_remedy(
    tmp_path: Path, more: str, wished: Desired, part: str, why: str
) -> None:
    told = refused(local(tmp_path, more), wished)
    assert list(told) == [part]
    assert told[part].startswith(why)


@pytest.mark.parametrize(
    ("more", "wished"),
    [
        ("", WISHED),
        ("", replace(WISHED, log_level="debug", shadows=SHADOW)),
        ("[remote]\ninputs = true", replace(WISHED, inputs=OFF)),
        ("[capture]\nenabled = true\nhub_may_tune = true", replace(WISHED, capture=Wish(random_rate=0.5))),
    ],
)
def test_what_is_followed_is_not_told(tmp_path: Path, more: str, wished: Desired) -> None:
    assert refused(local(tmp_path, more), wished) == {}
