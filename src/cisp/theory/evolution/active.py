"""Which circuits are active: sets of rows drawn from the table, sorted by what they take."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cisp import allocation
from cisp.allocation import Table
from cisp.theory.evolution.crowd import CLASSES, kinds_of_rows

MEMBERS = 8  # sets to a slice


@dataclass(frozen=True, eq=False)
class Sets:
    """Sets of z rows, in equally likely slices by how unevenly they take positions of others.

    taken (r, k, m): P(m), of rows of each kind, mean over a slice. kinds (r, i, z): of the rows of
    each set. over (r, i, z): the positions of each that are those of one before it too.
    """

    taken: Float[np.ndarray, "r k m"]
    kinds: Int[np.ndarray, "r i z"]
    over: Int[np.ndarray, "r i z"]


def sets_of(table: Table, n: int, z: int, draws: int, classes: int = CLASSES) -> Sets:
    """Sets of z circuits of a table, drawn without replacement."""
    (T, S), rng = table.shape, np.random.default_rng(0)
    sets = np.stack([rng.choice(T, z, replace=False) for _ in range(draws * MEMBERS)])
    kind = kinds_of_rows(table, n, classes)
    order = np.argsort(table.ravel(), kind="stable") // S
    load = allocation.load(table, n=n)
    ends, begins = load.cumsum(), load.cumsum() - load
    size = np.bincount(kind)
    taken = np.zeros((len(sets), len(size), S + 1))
    over = np.zeros(sets.shape, int)
    for i, rows in enumerate(sets):
        seen = np.zeros(n, bool)
        for v, row in enumerate(rows):
            over[i, v] = seen[table[row]].sum()
            seen[table[row]] = True
        on = [order[begins[p] : ends[p]] for p in np.flatnonzero(seen)]
        m = np.bincount(np.concatenate(on), minlength=T)
        others = np.delete(kind * (S + 1) + m, rows)
        taken[i] = np.bincount(others, minlength=taken[i].size).reshape(taken[i].shape)
    squares = taken.sum(1) @ np.arange(taken.shape[2]) ** 2
    by = np.argsort(squares, kind="stable").reshape(draws, MEMBERS)
    law = taken[by].sum(1) + 1e-9 * taken.sum(0)
    law = law / law.sum(2, keepdims=True)
    return Sets(law, kind[sets][by], np.minimum(over[by], S - 1))
