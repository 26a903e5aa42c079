from pathlib import Path

import pytest

from sprat.compiler.proof import budget
from sprat.compiler.spec import limits, recipe, target
from sprat.errors import RecipeError

ROOT = Path(__file__).parents[3]
RECIPE = (ROOT / "models" / "occupancy" / "recipe.toml").read_text()


def _target(name):
    return target.parse((ROOT / "models" / "targets" / f"{name}.toml").read_text(), name=name)


def test_a_recipe_lays_its_limits_over_a_targets_budget():
    read = recipe.parse(RECIPE + "\n[limits.pi-4]\nlatency_us = 500\n")
    both = (_target("pi-4"), _target("generic-x86_64"))
    pi, generic = limits.apply(both, read)
    assert pi.latency_us == 500
    assert pi.memory_kib == both[0].memory_kib
    assert generic == both[1]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[limits.pi-4]\nlatency_ms = 1\n", "unknown key 'latency_ms'; did you mean 'latency_us'"),
        ("[limits.pi-4]\nlatency_us = 0\n", "found 0, expected a whole number above zero"),
        ("[limits]\npi-4 = 3\n", "limits.pi-4 must be a table"),
    ],
)
def test_what_is_no_limit_names_its_line(table, said):
    with pytest.raises(RecipeError, match=said):
        recipe.parse(RECIPE + "\n" + table)


def test_limits_of_a_target_that_is_not_built_are_told():
    read = recipe.parse(RECIPE + "\n[limits.generic-x86]\nlatency_us = 500\n")
    with pytest.raises(RecipeError, match=r"line \d+: unknown key 'generic-x86'; did you mean 'generic-x86_64'"):
        limits.apply((_target("generic-x86_64"),), read)


def test_a_limit_that_breaks_says_where_it_was_measured():
    need = budget.Need(1, 100, 15.0, "device (ssh:pi, aarch64)")
    (over,) = budget.breaks(need, _target("pi-4"), max_latency_us=10.0)
    assert over.sentence == "p50 latency 15.0 us on device (ssh:pi, aarch64), pi-4 allows 10 us (+50%)"
