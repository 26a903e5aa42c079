import numpy as np
import pytest

from sprat.data import times
from sprat.errors import RecipeError


def test_iso_and_numbers_are_seconds_in_utc():
    texts = np.array(["1970-01-01T00:01:00", "1970-01-01T00:01:00Z", "1970-01-01 01:01:00+01:00", "1970-01-02"])
    assert times.seconds(texts, "when").tolist() == [60, 60, 60, 86400]
    assert times.seconds(np.array([5, 6]), "when").tolist() == [5, 6]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.array(["1970-01-01", "soon"]), "'soon' in row 1, expected ISO 8601"),
        (np.array([1.0, np.nan]), "no time in row 1"),
        (np.zeros((2, 2)), r"shape \[2, 2\]"),
    ],
)
def test_what_is_no_time_names_its_row(column, said):
    with pytest.raises(RecipeError, match=said):
        times.seconds(column, "when")
