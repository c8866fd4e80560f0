"""Layer 1, where nothing has been heard yet: exact for the table at hand (C7.2, C7.3, C9.1)."""

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float
from scipy.special import comb as combs

from cisp import allocation
from cisp.allocation import Table
from cisp.theory.derived import derived_first_layer

RARE = 1e-9  # a law below is rounding
SUBSETS = 10  # positions of a row, of which all subsets are looked at


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
    law = taken_law
    try:
        exact = derived_first_layer(table, n=n, z=z)
    except ValueError:  # rows share more than one position
        exact = _crossing(table, n=n, z=z)
        law = taken_of_any if table.shape[1] <= SUBSETS else taken_law
    return First(law(table, n=n, z=z), exact["rotation", "inactive"], exact["rotation", "active"])


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


def taken_of_any(table: Table, *, n: int, z: int) -> Float[np.ndarray, " m"]:
    """P(m): as `taken_law`, of any table: from how many rows leave each subset of a row free.

    None of z circuits takes any of j positions with probability f_j on average; as
    f_j = E C(S - m, j), inclusion and exclusion gives the law of S - m.
    """
    (T, S), order = table.shape, np.argsort(table.ravel(), kind="stable")
    load = allocation.load(table, n=n)
    begins, c = load.cumsum()[table.ravel()] - load[table.ravel()], load[table.ravel()]
    of = np.repeat(np.arange(T * S), c)  # every position of a row, with every circuit on it
    nth = np.arange(len(of)) - np.repeat(c.cumsum() - c, c)
    pair = of // S * T + order[begins[of] + nth] // S
    pair, which = np.unique(pair, return_inverse=True)
    shared = np.bincount(which, 2.0 ** (of % S)).astype(int)  # the positions of a pair, as bits
    row, other = pair // T, pair % T
    rows = np.bincount((row * 2**S + shared)[row != other], minlength=T * 2**S).reshape(T, -1)
    rows[:, 0] = T - 1 - rows.sum(1)
    free = rows.reshape(T, *[2] * S)  # axis i: does the other row take position S - 1 - i
    for axis in range(1, S + 1):  # whatever it does there, or not at all
        either, not_at_all = free.sum(axis, keepdims=True), free.take([0], axis)
        free = np.concatenate([either, not_at_all], axis)
    asked = np.array([bin(bits).count("1") for bits in range(2**S)])
    none = combs(free.reshape(T, -1), z).mean(0) / comb(T - 1, z)
    f = np.bincount(asked, none)
    law = np.zeros(S + 1)
    for i in range(S + 1):
        law[S - i] = sum((-1) ** (j - i) * comb(j, i) * f[j] for j in range(i, S + 1))
    seen = np.flatnonzero(law > RARE)[-1] + 1
    return np.asarray(law[:seen].clip(0) / law[:seen].clip(0).sum())


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
