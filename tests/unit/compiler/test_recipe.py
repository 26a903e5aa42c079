from pathlib import Path

import pytest

from sprat.compiler.spec import project, recipe
from sprat.errors import RecipeError

MODELS = Path(__file__).parents[3] / "models"
TEXT = (MODELS / "digits" / "recipe.toml").read_text()


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/recipe.toml")), ids=lambda path: path.parent.name)
def test_the_example_recipes_parse(path):
    assert recipe.parse(path.read_text()).model == path.parent.name


def test_values_and_defaults():
    found = recipe.parse(TEXT)
    assert found.train.parameters == {"epochs": 30}
    assert found.data.split.shares == (0.6, 0.1, 0.1, 0.2)
    assert found.inputs[0].maximum == 16.0
    assert found.golden_inputs == "real"


def test_overrides_lie_over_the_recipe():
    found = recipe.parse(TEXT, overrides=("train.epochs=3", "train.seed=9", "metric=balanced_accuracy"))
    assert found.train.parameters == {"epochs": 3}
    assert found.train.seed == 9
    assert found.metric == "balanced_accuracy"


def _line(text, needle):
    return 1 + text[: text.index(needle)].count("\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("prefer =", "prefers =", "unknown key 'prefers'; did you mean 'prefer'"),
        ("min_agreement", "min_agreemnt", "unknown key 'min_agreemnt'; did you mean 'min_agreement'"),
        ('unit = "grey level"', "unit = 3", "found 3, expected a string"),
        ('method = "stratified"', 'method = "layered"', "expected one of stratified"),
        ("train = 0.6", "train = 0.5", "sum to 1"),
        ('"size"', '"speed"', "expected some of size"),
        ('model = "digits"', 'model = "Digits!"', "model name 'Digits!'"),
        ("count = 32", "count = 0", "1 to 1000"),
        ("max_drop = 0.02", "max_drop = nan", "gates.max_drop: found nan, expected a finite number"),
        ("epochs = 30", "epochs = [3, inf]", "train.epochs: found inf, expected a finite number"),
        ("seed = 1", "seed = -1", "found -1, expected 0 to 4294967295"),
        ('unit = "grey level"', "features = []", "inputs.image.features: found [], expected at least one column"),
        ('unit = "grey level"', 'column = "digit"', "found 'digit', which is the label"),
        ("minimum = 0", "minimum = 17", "found 17.0, expected at most the maximum, 16"),
        ('"9"]', '"9", "a\\nb"]', "expected names of one line"),
    ],
)
def test_a_wrong_key_or_value_names_its_line(old, new, said):
    text = TEXT.replace(old, new)
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text, name="r.toml")
    assert said in str(caught.value)
    assert f"r.toml, line {_line(text, new)}" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((("[inputs.image]", "[inputs.'an image']"),), "inputs: found 'an image', expected names of letters"),
        ((("[gates]", '[stream]\nanswer = "last"\n[gates]'),), "stream: found 'last', expected no"),
        ((('"keras"', '"sklearn"'), ("[data]", 'answer = ["a"]\n[data]')), "answer: found .'a'., expected none"),
        ((('"classification"', '"regression"'), ('"accuracy"', '"mae"')), "labels: found .'0'.*expected none"),
    ],
)
def test_what_another_task_or_framework_has_does_not_go_unheard(changes, said):
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(RecipeError, match=said):
        recipe.parse(text)


def test_a_whole_input_may_be_what_an_autoencoder_gives_back():
    text = TEXT.replace('"classification"', '"regression"').replace('metric = "accuracy"', 'metric = "mae"')
    text = text.replace(_line_of(TEXT, "labels ="), "").replace('label = "digit"', 'label = "image"')
    assert recipe.parse(text).data.label == recipe.parse(text).inputs[0].column == "image"


def test_a_missing_key_says_where_it_belongs():
    with pytest.raises(RecipeError, match=r"\[train\] needs 'framework'"):
        recipe.parse(TEXT.replace('framework = "keras"\n', ""))
    with pytest.raises(RecipeError, match="not TOML"):
        recipe.parse("model = ")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train", "expected key=value"),
        ("train.seed=soon", "--set train.seed"),
        ("gates.max_dorp=1", "--set gates.max_dorp: unknown key 'max_dorp'; did you mean 'max_drop'"),
        ("model.name=x", "'model' is a value in the recipe, not a table"),
    ],
)
def test_a_wrong_override_is_named_as_such(override, said):
    with pytest.raises(RecipeError) as caught:
        recipe.parse(TEXT, overrides=(override,))
    assert said in str(caught.value)


def _anomaly(labels):
    return TEXT.replace('"classification"', '"anomaly"').replace('metric = "accuracy"\n', labels)


def test_an_anomaly_has_two_labels_and_metrics_of_ranks():
    named = recipe.parse(_anomaly("").replace(_line_of(TEXT, "labels ="), ""))
    assert (named.labels, named.metric) == (("normal", "unusual"), "roc_auc")
    with pytest.raises(RecipeError, match="two names: of the normal rows"):
        recipe.parse(_anomaly(""))
    with pytest.raises(RecipeError, match="one of roc_auc, average_precision"):
        recipe.parse(_anomaly('metric = "accuracy"\n'))


def _line_of(text, start):
    return next(line + "\n" for line in text.splitlines() if line.startswith(start))


def test_a_given_file_may_lie_inside_an_installed_package(tmp_path):
    (tmp_path / "recipe.toml").write_text((MODELS / "digits" / "recipe.toml").read_text())
    source = project.read(tmp_path)
    assert source.file("package:sprat/compiler/report/report.css").name == "report.css"
    for name, said in [
        ("package:no_such_package/x.tflite", "no package 'no_such_package' is installed"),
        ("package:sprat/none.tflite", "package sprat has no file 'none.tflite'"),
        ("package:sprat/../../../setup.cfg", "package sprat has no file"),
        ("package:../x", "no package '..' is installed"),
    ]:
        with pytest.raises(RecipeError, match=said.replace("..", r"\.\.")):
            source.file(name)
