"""Rows of the tables that measurements and predictions come as."""

import numpy as np
import pandas as pd

from cisp.arguments import instance


def rows(table: pd.DataFrame, /, **values: object) -> pd.DataFrame:
    """The rows of a table whose columns have these values, in their order.

    A list, tuple, set, range or array stands for any of its values.

    Raises ValueError for a column that the table lacks or a value that does not occur in it.

    >>> errors = pd.DataFrame({"quantity": ["indicator", "rotation"], "z": 1, "mse": [0.1, 0.2]})
    >>> rows(errors, quantity="rotation", z=[1]).mse.item()
    0.2
    """
    instance("table", table, pd.DataFrame)
    keep = pd.Series(True, table.index)
    for name, value in values.items():
        if name not in table:
            raise ValueError(f"no column {name!r}; the table has {_listed(table.columns)}")
        wanted = (
            list(value) if isinstance(value, list | tuple | set | range | np.ndarray) else [value]
        )
        there = table[name].unique()
        for one in wanted:
            if one not in there:
                raise ValueError(f"{name}={one!r} does not occur; {name} is {_listed(there)}")
        keep &= table[name].isin(wanted)
    return table[keep]


def _listed(values: object) -> str:
    """The first eight values, and how many more there are."""
    some = pd.Series(values).tolist()
    more = f" and {len(some) - 8} more" if len(some) > 8 else ""
    return ", ".join(map(repr, some[:8])) + more
