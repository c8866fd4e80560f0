"""Rows of a table by the values of its columns."""

import pandas as pd
import pytest

from cisp import rows

TABLE = pd.DataFrame(
    {
        "quantity": ["indicator", "rotation"] * 4,
        "z": [1, 1, 2, 2] * 2,
        "layer": [1] * 4 + [2] * 4,
        "mse": range(8),
    }
)


def test_rows_have_all_the_values_and_keep_their_order_and_index() -> None:
    assert rows(TABLE, quantity="rotation").mse.tolist() == [1, 3, 5, 7]
    found = rows(TABLE[::-1], quantity="rotation", z=2)
    assert found.index.tolist() == found.mse.tolist() == [7, 3]
    assert rows(TABLE).equals(TABLE)


def test_several_values_stand_for_any_of_them() -> None:
    for some in ([1], (1,), {1}, range(1, 2)):
        assert rows(TABLE, layer=some).mse.tolist() == [0, 1, 2, 3]
    assert rows(TABLE, layer=[1, 2], z=1).mse.tolist() == [0, 1, 4, 5]


def test_values_that_occur_but_never_together_give_no_row() -> None:
    assert rows(TABLE[TABLE.mse != 7], layer=2, z=2, quantity="rotation").empty


def test_a_refusal_names_eight_values_and_counts_only_those_beyond() -> None:
    with pytest.raises(ValueError, match=r"mse is 0, 1, 2, 3, 4, 5, 6, 7$"):
        rows(TABLE, mse=8)
    more = pd.concat([TABLE, TABLE.assign(mse=8)])
    with pytest.raises(ValueError, match=r"mse is 0, 1, 2, 3, 4, 5, 6, 7 and 1 more$"):
        rows(more, mse=9)
