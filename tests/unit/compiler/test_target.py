from pathlib import Path

import pytest

from sprat.compiler.spec import project, target
from sprat.errors import RecipeError

TARGETS = Path(__file__).parents[3] / "models" / "targets"
TEXT = (TARGETS / "pi-4.toml").read_text()


@pytest.mark.parametrize("path", sorted(TARGETS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_target_parses_and_is_named_as_its_file(path):
    assert target.parse(path.read_text(), name=path.name).name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cores =", "core =", "'cores' is missing"),
        ("cores = 4", "cores = 4\ncolour = 1", "unknown key 'colour'"),
        ("[runtimes.onnx]", "[runtimes.onxx]", "did you mean 'onnx'"),
        ("bundle_kib", "bundle_kb", "did you mean 'bundle_kib'"),
        ("sprat.target/1", "sprat.target/2", "schema"),
    ],
)
def test_a_wrong_target_file_says_what(old, new, said):
    with pytest.raises(RecipeError) as caught:
        target.parse(TEXT.replace(old, new), name="t.toml")
    assert said in str(caught.value)


def test_a_target_beside_the_recipe_comes_before_the_built_in_one(tmp_path):
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "pi-4.toml").write_text(TEXT.replace("cores = 4", "cores = 3"))
    (tmp_path / "recipe.toml").write_text((TARGETS.parent / "digits" / "recipe.toml").read_text())
    source = project.read(tmp_path)
    assert project.find_targets(["pi-4"], source, tmp_path / "none")[0].cores == 3
    assert project.find_targets(["pi-zero-2w"], source, tmp_path / "none")[0].ram_mib == 512
    with pytest.raises(RecipeError, match="unknown target 'pi-5'; did you mean 'pi-4'"):
        project.find_targets(["pi-5"], source, tmp_path / "none")
