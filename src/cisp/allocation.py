"""Which positions of a block carry which circuit: tables, their capacity, load and overlaps.

A table is an integer array (T, S): row t holds the S positions, out of n = D/d, that are 1 in the
embedding vector |e_t> (5.21). Circuits u and t overlap in <e_t|e_u> positions.
"""

from collections.abc import Iterator
from itertools import combinations, islice
from math import comb, inf

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from cisp.arguments import count, generator, number, places, room, told
from cisp.designs import transversal_design_capacity

Table = Int[np.ndarray, "T S"]


def prime_steps(*, T: int, n: int, S: int) -> Table:
    """T rows of S positions of which any two rows share at most one: the post's allocation.

    Section 5.4.1 (5.21, 5.22). Rows are arithmetic progressions of S positions. Two of one
    step are disjoint. Two of the steps r S^j and s S^k, with r and s free of primes below S, share
    two positions only if a r S^j = b s S^k with 0 < a, b < S. Primes from S on occur in r and s
    alone, so r = s, and a S^j = b S^k leaves j = k: the steps are the same.

    Raises ValueError if T is beyond `prime_steps_capacity`.

    >>> prime_steps(T=3, n=6, S=2)
    array([[0, 1],
           [2, 3],
           [4, 5]])
    """
    capacity = prime_steps_capacity(n=n, S=S)
    if count("T", T) > capacity:
        raise ValueError(
            f"T={T} exceeds the {capacity} circuits that prime_steps can place at n={n}, S={S}; "
            f"transversal_design can place {transversal_design_capacity(n=n, S=S)}"
        )
    room("T", T, 4 * T * S)
    rows = np.array([*islice(_progressions(n, S), T)], dtype=np.int64)
    return rows[:, :1] + rows[:, 1:] * np.arange(S)


def prime_steps_capacity(*, n: int, S: int) -> int:
    """The largest T that `prime_steps` can place: 557 at n = 250, S = 6; 0 when S > n.

    At S = 1 nothing is shared and a position holds one circuit: the capacity is n.

    >>> prime_steps_capacity(n=250, S=6)
    557
    """
    n, S = places(n), count("S", S)
    steps, found = _plain_steps(n, S), 0
    while len(steps):  # of S step starts in a row, the first `step` have a row each
        whole, rest = np.divmod(n - (S - 1) * steps, S * steps)
        found += int((whole * steps + np.minimum(rest, steps)).sum())
        steps = steps * S if _repeats(S) else steps[:0]
        steps = steps[(S - 1) * steps < n]
    return found


def random_subsets(*, T: int, n: int, S: int, rng: np.random.Generator | int = 0) -> Table:
    """T random rows of S out of n positions, every set equally likely (Floyd's algorithm).

    As an allocation it is a control: nothing limits how many positions two rows share.

    >>> random_subsets(T=2, n=9, S=3, rng=0).shape
    (2, 3)
    """
    count("T", T), count("n", n), count("S", S, high=n)
    rng = generator(rng)
    room("T", T, 3 * T * S)
    table = np.empty((T, S), dtype=np.int64)
    for s, top in enumerate(range(n - S, n)):
        pick = rng.integers(0, top, size=T, endpoint=True)
        taken = (table[:, :s] == pick[:, None]).any(1)
        table[:, s] = np.where(taken, top, pick)
    return np.sort(table, axis=1)


def check_table(table: Table, *, n: int, max_overlap: int | float = 1) -> Table:
    """The table, if its rows are distinct sorted positions in 0..n-1 that share <= max_overlap.

    Raises ValueError naming the first row, or pair of rows, that breaks this (5.21, 5.22).

    >>> check_table(np.array([[0, 1], [1, 2]]), n=3).tolist()
    [[0, 1], [1, 2]]
    """
    n, table = count("n", n), _integers(table)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(
            f"table has shape {table.shape} and dtype {table.dtype}; it must be (T, S) integers"
        )
    outside = np.argwhere((table < 0) | (table >= n))
    if len(outside):
        t, s = outside[0]
        raise ValueError(f"table[{t}, {s}]={table[t, s]} is not a position; these are 0..{n - 1}")
    unsorted = np.argwhere(table[:, 1:] <= table[:, :-1])
    if len(unsorted):
        t = unsorted[0, 0]
        raise ValueError(
            f"table[{t}]={told(table[t].tolist())}; a row must be increasing positions"
        )
    table = table.astype(np.int64, copy=False)  # what is reckoned from it needs all 64 bits
    meeting = _first_meeting(table, n, max_overlap)
    if meeting:
        t, u, shared = meeting
        raise ValueError(
            f"table rows {t} and {u} share {shared} positions; "
            f"at most max_overlap={max_overlap} are allowed"
        )
    return table


def vectors(table: ArrayLike, *, n: int) -> Float[np.ndarray, "*layers T n"]:
    """The embedding vectors |e_t> as rows of 0 and 1, one for each row of the table (5.21).

    table: (T, S) positions, or (L, T, S) as in `Network.tables`.

    Raises ValueError where `check_table` does, overlaps aside.

    >>> vectors(prime_steps(T=2, n=4, S=2), n=4)
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.]])
    """
    table = _integers(table)
    if table.ndim == 3 and len(table):
        return np.stack([vectors(of_layer, n=n) for of_layer in table])
    table = check_table(table, n=n, max_overlap=inf)
    room("n", n, table.shape[0] * n)
    e = np.zeros((len(table), n))
    np.put_along_axis(e, table, 1, axis=1)
    return e


def load(table: Table, *, n: int) -> Int[np.ndarray, " n"]:
    """The number c_p of circuits on each position p.

    >>> load(np.array([[0, 1], [1, 2]]), n=3).tolist()
    [1, 2, 1]
    """
    places(n)
    return np.bincount(check_table(table, n=n, max_overlap=inf).ravel(), minlength=n)


def mean_overlap(table: Table, *, n: int) -> float:
    """The exact mean of <e_t|e_u>/S over ordered pairs t != u: sum_p c_p (c_p - 1) / (S T (T-1)).

    Not zero, since overlaps are never negative: about S d/D.

    >>> mean_overlap(np.array([[0, 1], [1, 2]]), n=3)
    0.5
    """
    table = check_table(table, n=n, max_overlap=inf)
    c, (T, S) = load(table, n=n), table.shape
    return float(c @ (c - 1)) / (S * count("T", T, low=2) * (T - 1))


def mean_squared_overlap(table: Table, *, n: int) -> float:
    """The exact mean of (<e_t|e_u>/S)^2 over ordered pairs t != u (left side of 6.3).

    Where rows share at most one position this is sum_p c_p (c_p - 1) / (S^2 T (T-1)). In general
    sum_{t,u} <e_t|e_u>^2 = sum_{p,q} N_pq^2 with N_pq the number of circuits on both p and q.

    >>> mean_squared_overlap(np.array([[0, 1], [1, 2]]), n=3)
    0.25
    """
    table = check_table(table, n=n, max_overlap=inf)
    c, (T, S) = load(table, n=n), table.shape
    _, together = np.unique(_codes(table, n, 2), return_counts=True)
    squares = c @ c + 2 * (together @ together) - T * S**2
    return float(squares) / (S**2 * count("T", T, low=2) * (T - 1))


def _progressions(n: int, S: int) -> Iterator[tuple[int, int]]:
    """(start, step) of every row of `prime_steps`, in the post's order."""
    for step in _steps(n, S):
        for shift in range(step):
            for start in range(shift, n - (S - 1) * step, S * step):
                yield start, step


def _steps(n: int, S: int) -> Iterator[int]:
    """Steps that no prime below S divides; for composite S also these times S, S^2, ..."""
    for step in _plain_steps(n, S).tolist():
        yield step
        while _repeats(S) and (S - 1) * (step := step * S) < n:
            yield step


def _plain_steps(n: int, S: int) -> Int[np.ndarray, " m"]:
    """The steps that no prime below S divides; a row of one position has the step 1."""
    steps = np.arange(1, (n - 1) // (S - 1) + 1) if S > 1 else np.ones(1, dtype=np.int64)
    for p in filter(_is_prime, range(2, min(S, len(steps) + 1))):
        steps = steps[steps % p > 0]
    return steps


def _repeats(S: int) -> bool:
    return S > 1 and not _is_prime(S)


def _integers(table: ArrayLike) -> np.ndarray:
    """The table as an array, or a ValueError if it is not one of integers."""
    try:
        found = np.asarray(table)
    except (ValueError, TypeError, RuntimeError):  # ragged; on another device
        found = np.empty(0)
    if not np.issubdtype(found.dtype, np.integer):
        kind = told(table) if found.ndim == 0 else f"of shape {found.shape} and dtype {found.dtype}"
        raise ValueError(f"table is {kind}; it must be (T, S) integers")
    return found


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % k for k in range(2, int(number**0.5) + 1))


def _codes(table: Table, n: int, size: int) -> Int[np.ndarray, "T subsets"]:
    """One integer for each `size`-subset of each row's positions; equal subsets, equal integers."""
    columns = combinations(range(table.shape[1]), size)
    subsets = table[:, np.array(list(columns), dtype=np.int64).reshape(-1, size)]
    return np.ravel_multi_index(tuple(np.moveaxis(subsets, -1, 0)), (n,) * size)


def _first_meeting(table: Table, n: int, max_overlap: int | float) -> tuple[int, int, int] | None:
    """Two rows that share more than max_overlap positions, and how many; None if no rows do.

    They do exactly if some set of max_overlap + 1 positions lies in both.
    """
    T, S = table.shape
    if max_overlap != inf:
        number("max_overlap", max_overlap, low=0)
    if max_overlap >= S:
        return None
    size = count("max_overlap", max_overlap, low=0) + 1
    room("max_overlap", max_overlap, T * comb(S, size) * (size + 3))
    if n**size > 2**63:
        raise ValueError(
            f"max_overlap={max_overlap} cannot be checked at n={n}; "
            f"it must be smaller, or {S} to allow any"
        )
    code = _codes(table, n, size).ravel()
    order = np.argsort(code, kind="stable")
    same = np.flatnonzero(code[order][1:] == code[order][:-1])
    if not len(same):
        return None
    t, u = sorted(order[same[0] : same[0] + 2] // comb(S, size))
    return int(t), int(u), len(np.intersect1d(table[t], table[u]))
