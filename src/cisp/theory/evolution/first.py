"""Layer 1, where nothing has been heard yet: exact for the table at hand (C7.2, C7.3, C9.1)."""

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float
from scipy.special import comb as combs

from cisp import allocation
from cisp.allocation import Table
from cisp.theory.derived import derived_first_layer


@dataclass(frozen=True, eq=False)
class First:
    """taken (m,): how many positions of an inactive circuit active ones take. Vectors' errors.

    Exact where rows share at most one position; else as if rows met position by position.
    """

    taken: Float[np.ndarray, " m"]
    inactive: float
    active: float


def first_layer(table: Table, *, n: int, z: int) -> First:
    """Layer 1 of a table with z active circuits."""
    try:
        exact = derived_first_layer(table, n=n, z=z)
    except ValueError:  # rows share more than one position
        exact = _crossing(table, n=n, z=z)
    law = taken_law(table, n=n, z=z)
    return First(law, exact["rotation", "inactive"], exact["rotation", "active"])


def _crossing(table: Table, *, n: int, z: int) -> dict[tuple[str, str], float]:
    """The vectors' errors, as if circuits took each position of a row independently.

    Where k active circuits take a position, each of its two vector neurons is off by 2 (k - 1) and
    by the vectors of those that do not own it.
    """
    (T, S), c = table.shape, allocation.load(table, n=n)
    q = allocation.mean_squared_overlap(table, n=n)
    p = float((c * (c - 1)).sum()) / (T * (T - 1) * S)  # that another circuit takes a position
    some = 1 - (1 - p) ** z
    mean, square = z * p - some, z * p * (1 - p) + (z * p) ** 2 - 2 * z * p + some
    return {
        ("rotation", "inactive"): z * q + 8 * (square / S + (1 - 1 / S) * mean**2),
        ("rotation", "active"): (z - 1) * (9 * q + 8 * (z - 2) * p**2),
    }


def taken_law(table: Table, *, n: int, z: int) -> Float[np.ndarray, " m"]:
    """P(m): z random other circuits take m of a row's S positions, mean over rows.

    Different circuits pass through different positions of a row. Position by position, count the
    ways to choose i circuits that take m positions; all choices of z are equally likely.
    """
    T, S = table.shape
    others = allocation.load(table, n=n)[table] - 1
    i = np.arange(z + 1)
    ways = np.zeros((T, min(z, S) + 1, z + 1))
    ways[:, 0] = combs(np.maximum(T - 1 - others.sum(1), 0)[:, None], i)
    for d in others.T:
        taken = np.zeros_like(ways)
        for k in range(1, z + 1):
            taken[:, 1:, k:] += combs(d, k)[:, None, None] * ways[:, :-1, : z + 1 - k]
        ways = ways + taken
    law = ways[:, :, z].mean(0) / comb(T - 1, z)
    return np.asarray(law / law.sum())
