"""The report of a real build: what collapsed is looked into, sentences explain it, and it reads in a browser."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from tests import wake_word

from sprat import cli
from sprat.compiler.report import anatomy
from sprat_device.contract import bundle as bundles

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MODELS = Path(__file__).parents[2] / "models"
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def environment(home, monkeypatch):
    for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
        monkeypatch.setenv(f"SPRAT_{name}_DIR", str(home / name.lower()))


@pytest.fixture(scope="module")
def collapsed(home):
    """Build digits so that every candidate misses a gate: nobody gains half of the accuracy by being converted."""
    out = home / "out"
    line = ["build", str(MODELS / "digits"), "--out", str(out), "--runner", "local", "--explain"]
    for override in ("train.epochs=3", "gates.min_metric=0.3", "gates.max_drop=-0.5", 'schemes=["float32", "int8"]'):
        line += ["--set", override]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "DATA", "CACHE", "RUNTIMES"):
            patch.setenv(f"SPRAT_{name}_DIR", str(home / name.lower()))
        code = cli.main(line)
    return code, out / "report.html"


def test_a_build_where_nothing_fits_is_explained_and_kept_as_a_run(collapsed, capsys):
    assert collapsed[0] == 1
    assert cli.main(["runs", "list", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["bundles"] == []
    assert cli.main(["runs", "explain", run["run"]]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("generic-x86_64: no candidate fits. To change: ")
    assert [line.split()[0] for line in others] == ["float32", "int8"]
    assert all("allowed -0.5" in line and "gates.max_drop" in line for line in others)


def test_what_collapsed_is_drawn_beside_the_float_artifact(collapsed):
    page = collapsed[1].read_text()
    inside = page[page.index("Weights and activations where") : page.index("Gates on every runtime")]
    assert "int8 against float32" in inside
    assert len(re.findall(r"aria-label=\"weights: ", inside)) >= 4
    assert len(re.findall(r"aria-label=\"activations: ", inside)) >= 4


def test_the_page_asks_for_nothing_fits_a_telephone_and_follows_the_theme(collapsed):
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine")
    asked = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(collapsed[1].as_uri())
        seen = {}
        for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
            page.emulate_media(media=media, color_scheme=scheme)
            # A telephone, and the width of A4 without its margins.
            page.set_viewport_size({"width": 718 if media == "print" else 390, "height": 800})
            seen[media, scheme] = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill,"
                " document.documentElement.scrollWidth <= document.documentElement.clientWidth]"
            )
        browser.close()
    assert asked == [collapsed[1].as_uri()]
    assert seen["screen", "light"][:2] != seen["screen", "dark"][:2]
    assert seen["print", "dark"][:2] == seen["screen", "light"][:2]
    assert {place: fits for place, (*_, fits) in seen.items()} == dict.fromkeys(seen, True)


def test_the_insides_of_a_scikit_learn_graph_are_read_too(home):
    out = home / "linear"
    line = ["build", str(MODELS / "occupancy"), "--out", str(out), "--runner", "local", "--quiet"]
    assert cli.main([*line, "--set", "train.trees=3", "--set", 'schemes=["float64-onnx"]']) == 0
    path = out / "occupancy-generic-x86_64.sprat"
    with path.open("rb") as file, bundles.read(file) as bundle, (out / "m.onnx").open("wb") as into:
        bundle.copy_artifact(into)
    (name,) = (spec.name for spec in bundle.manifest.inputs)
    found = anatomy.look(out / "m.onnx", {name: np.zeros((4, 4))})
    assert any(key.startswith("activation/") and np.all(np.isfinite(values)) for key, values in found.items())


def test_a_model_that_keeps_state_can_be_looked_into():
    readings = np.random.default_rng(0).uniform(0, 20, (6, wake_word.FRAME, wake_word.BANDS)).astype(np.float32)
    found = anatomy.look(wake_word.path(), {"input_audio": readings})
    assert any(name.startswith(anatomy.WEIGHT) for name in found)
    moved = [values for name, values in found.items() if name.startswith(anatomy.ACTIVATION)]
    assert len(moved) > 10
    assert all(np.all(np.isfinite(values)) for values in moved)
