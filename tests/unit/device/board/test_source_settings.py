"""`[[inputs]]` and `[[outputs]]`: each kind has options of its own, each is in the docs, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sprat_device.board import settings
from sprat_device.board.settings import InputSettings, OutputSettings
from sprat_device.board.settings.entry import settings_of
from sprat_device.board.settings.inputs import SOURCES
from sprat_device.board.settings.outputs import SINKS
from sprat_device.contract.errors import WrongUse
from sprat_device.contract.preprocess import STEPS
from sprat_device.inference import serve, sinks, sources


def load(tmp_path: Path, text: str) -> Any:
    (tmp_path / settings.FILE_NAME).write_text(text, encoding="utf-8")
    return settings.load(tmp_path)


def test_each_kind_that_may_be_set_can_be_opened() -> None:
    assert set(SOURCES) == {"replay", *sources.KINDS, *serve.KINDS}
    assert set(SINKS) == set(sinks.KINDS)


@pytest.mark.parametrize(("owner", "kinds"), [(InputSettings, SOURCES), (OutputSettings, SINKS)])
def test_every_option_is_one_of_some_kind_and_every_kinds_option_exists(owner: type, kinds: Any) -> None:
    known = set(settings_of(owner))
    named = {option for name in kinds for option in owner(kind=name).shown()}
    assert named == known


def test_inputs_and_outputs_of_all_sorts(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
[[inputs]]
model = "cam"
kind = "command"
command = ["libcamera-vid", "--codec", "yuv420", "-o", "-"]
format = "raw"
pixels = "yuv420"
width = 640
height = 480
newest = true

[[inputs]]
model = "motion"
kind = "serial"
path = "/dev/ttyUSB0"
channels = ["ax", "ay"]
resample_hz = 50
window_s = 2.0
hop_s = 0.5

[[inputs]]
model = "motion"
name = "mine"
kind = "plugin"
plugin = "gauge"
options = { pin = 4, names = ["a"] }

[[outputs]]
kind = "command"
command = ["gpioset", "gpiochip0", "17={label}"]
on = "change"

[[outputs]]
kind = "webhook"
url = "http://127.0.0.1:1880/sprat"
labels = ["running"]
min_confidence = 0.8
""",
    )
    camera, serial, plugin = found.inputs
    assert (camera.command[0], camera.pixels, camera.newest) == ("libcamera-vid", "yuv420", True)
    assert (serial.channels, serial.window_s, serial.baud) == (("ax", "ay"), 2.0, 115_200)
    assert plugin.options == {"pin": 4, "names": ["a"]}
    assert [output.kind for output in found.outputs] == ["command", "webhook"]
    shown = {key for key, _value, _origin in found.describe()}
    assert {"inputs[0].pixels", "inputs[2].options", "outputs[1].url"} <= shown
    assert not {"inputs[0].baud", "inputs[0].topic", "outputs[1].topic"} & shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kind='mqtt'", "kind mqtt needs 'topic'"),
        ("kind='command'\ncommand=[]", "kind command needs 'command'"),
        ("kind='stdin'\nbaud=9600", "kind stdin has no option 'baud', which is one of serial"),
        (
            "kind='file'\npath='x'\npixels='gray8'",
            "kind file has no option 'pixels', which is one of stdin, folder, mqtt",
        ),
        ("kind='stdin'\ndtype='int16'", "'dtype' is of raw records: set format = \"raw\""),
        ("kind='stdin'\nformat='raw'\npixels='gray8'", "'pixels', 'width' and 'height' go together"),
        ("kind='stdin'\nformat='raw'\npixels='yuv420'\nwidth=3\nheight=2", "needs an even width and height"),
        ("kind='stdin'\nwindow=3\nwindow_s=1.0\nresample_hz=5", "'window' and 'window_s' say the same"),
        ("kind='stdin'\nhop_s=1.0", "'hop_s' needs 'resample_hz'"),
        ("kind='stdin'\nnewest=true\nwindow=3", "'newest' leaves samples out"),
        ("kind='file'\npath='x'\nformat='raw'", "a file is read line by line"),
        ("kind='stdin'\nformat='xml'", "expected one of json, csv, raw"),
        ("kind='stdin'\nshape=[0]", "expected an integer from 1"),
        ("kind='plugin'\nplugin='a'\noptions=3", "expected a table"),
        ("kind='radio'", "expected one of replay, stdin"),
    ],
)
def test_a_wrong_input_is_one_line_that_names_it(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(WrongUse) as told:
        load(tmp_path, f"[[inputs]]\nmodel='a'\n{given}\n")
    assert said in str(told.value)
    assert "inputs[0]" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kind='file'", "kind file needs 'path'"),
        ("kind='stdout'\nurl='http://a'", "kind stdout has no option 'url', which is one of webhook"),
        ("kind='command'\ncommand=['a']", 'a program for every prediction: set on = "change", or most_hz'),
        ("kind='webhook'\nurl='ftp://a'", "expected http://HOST[:PORT]/PATH, or https"),
        ("kind='stdout'\nmin_confidence=0.9\nmax_confidence=0.5", "min_confidence 0.9 is above max_confidence 0.5"),
        ("kind='stdout'\non='sometimes'", "expected one of every, change"),
        ("kind='stdout'\nmodel='A B'", "model name 'A B': expected 1-63 of"),
        ("kind='stdout'\ninput='A B'", "expected at most 32 of a-z"),
        ("kind='mqtt'\ntopic='site/+'", "found 'site/+', expected a topic without + and #"),
        ("kind='webhook'\nurl='http://a:99999/'", "expected http://HOST[:PORT]/PATH"),
        ("kind='webhook'\nurl='http://a b/'", "expected http://HOST[:PORT]/PATH"),
        ("kind='webhook'\nurl='http://a'\nheaders={'X Y'='b'}", "found 'X Y', expected the name of an HTTP header"),
        ("kind='webhook'\nurl='http://a'\nheaders={X=[1]}", "expected one line of ASCII text for X"),
    ],
)
def test_a_wrong_output_is_one_line_that_names_it(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(WrongUse) as told:
        load(tmp_path, f"[[outputs]]\n{given}\n")
    assert said in str(told.value)
    assert "outputs[0]" in str(told.value)


def test_a_header_that_cannot_be_sent_is_named_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(WrongUse) as told:
        load(tmp_path, '[[outputs]]\nkind="webhook"\nurl="http://a"\nheaders={Authorization="Bearer se\\ncret"}\n')
    assert "expected one line of ASCII text for Authorization" in str(told.value)
    assert "cret" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("topic = 'a/#/b'", "found 'a/#/b', expected a topic in which + stands for a whole level"),
        ("topic = 'a+/b'", "expected a topic in which"),
        ("topic = 'a'\ndtype = 'text'\nformat = 'raw'", "expected one of float16, float32"),
    ],
)
def test_a_wrong_topic_or_kind_of_number_is_named(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(WrongUse) as told:
        load(tmp_path, f"[[inputs]]\nmodel = 'a'\nkind = 'mqtt'\n{given}\n")
    assert said in str(told.value)


@pytest.mark.parametrize("topic", ["+/#", "a/+/b", "#", "$share/g/a/#"])
def test_a_filter_of_topics_is_taken(tmp_path: Path, topic: str) -> None:
    assert load(tmp_path, f"[[inputs]]\nmodel = 'a'\nkind = 'mqtt'\ntopic = '{topic}'\n").inputs[0].topic == topic


def test_standard_input_feeds_one_input(tmp_path: Path) -> None:
    twice = "[[inputs]]\nmodel = 'a'\nkind = 'stdin'\n[[inputs]]\nmodel = 'b'\nkind = 'stdin'\n"
    with pytest.raises(WrongUse, match="2 of them read stdin, expected one: each would miss lines"):
        load(tmp_path, twice)


@pytest.mark.parametrize(("owner", "page"), [(InputSettings, "sources.md"), (OutputSettings, "sinks.md")])
def test_every_option_and_kind_is_in_the_docs(owner: type, page: str) -> None:
    text = (Path(__file__).parents[4] / "docs" / page).read_text("utf-8")
    kinds = SOURCES if owner is InputSettings else SINKS
    assert [name for name in (*settings_of(owner), *kinds) if f"`{name}`" not in text] == []


def test_every_step_is_in_the_docs() -> None:
    text = (Path(__file__).parents[4] / "docs" / "sources.md").read_text("utf-8")
    assert [name for name in ("window", *STEPS) if f"| `{name}` |" not in text] == []
