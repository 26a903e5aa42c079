from pathlib import Path

import pytest

from sprat.compiler.frontends import sklearn_converters, sklearn_remedies

PAGE = (Path(__file__).parents[3] / "docs" / "sklearn.md").read_text()


@pytest.mark.parametrize("name", [*sklearn_remedies.INSTEAD, *(row[0] for row in sklearn_remedies.SETTINGS)])
def test_every_remedy_is_in_the_docs(name):
    assert name in PAGE


@pytest.mark.parametrize("function", sklearn_converters.COLUMN_MATHS, ids=lambda function: function.__name__)
def test_every_column_function_is_in_the_docs(function):
    assert f"`{function.__name__}`" in PAGE
