from pathlib import Path

import pytest

from sprat.compiler.choice.ranking import Ranked
from sprat.compiler.choice.search import Choice
from sprat.compiler.lowering import Lowering
from sprat.compiler.proof.parity import Verdict
from sprat.compiler.proof.trials import Trial
from sprat.compiler.report import remarks
from sprat.compiler.spec import recipe, target
from sprat_device.contract.manifest import Format

ROOT = Path(__file__).parents[3]
RECIPE = (ROOT / "models" / "occupancy" / "recipe.toml").read_text()
PI = target.parse((ROOT / "models" / "targets" / "pi-4.toml").read_text(), name="pi-4")


def _ranked(figures, note=""):
    trial = Trial("int8", "litert", "2.3.0", "local", Verdict(note=note), figures=figures)
    lowering = Lowering(
        scheme="int8", format=Format.TFLITE, path=Path("x"), size=1, sha256="0" * 64, inputs=(), outputs=(), options={}, ops=()
    )  # fmt: skip
    return Ranked(Choice("int8", frozenset(), {}), (), {"int8": (trial,)}, {"int8": lowering})


HERE = {"where": "host (local)", "machine": "x86_64"}
THERE = {"where": "device (ssh:pi, aarch64)", "machine": "aarch64"}


@pytest.mark.parametrize(("figures", "told"), [(HERE, True), (THERE, False)])
def test_a_latency_limit_that_another_kind_of_machine_judged_is_told(figures, told):
    asked = recipe.parse(RECIPE, overrides=("gates.max_latency_us=500",))
    said = remarks.of_choice(PI, _ranked(figures), asked)
    assert bool(said) is told
    if told:
        assert "latency limit of pi-4 (500 us) was judged on host (local), x86_64, not on aarch64" in said[0]
        assert "--runner ssh:HOST" in said[0]


def test_without_a_limit_nobody_cares_whose_clock_it_was():
    assert remarks.of_choice(PI, _ranked(HERE), recipe.parse(RECIPE)) == []


def test_what_the_rows_are_too_few_for_is_told_of_the_chosen_one():
    assert remarks.of_choice(PI, _ranked(HERE, note="few rows"), recipe.parse(RECIPE)) == ["int8 on litert: few rows"]
