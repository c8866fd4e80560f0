"""Tables that hold as many circuits as any can, or nearly: transversal designs (beyond the post).

Rows of S out of n positions of which any two share at most one are a 2-(n, S, 1) packing.
"""

from functools import cache
from math import factorial, gcd

import numpy as np
from jaxtyping import Int

from cisp.arguments import count, places, room


def johnson_bound(*, n: int, S: int) -> int:
    """An upper bound on the rows of a table that share at most one position (Johnson 1962).

    A position lies in at most (n-1)/(S-1) rows, for these share no other position; n positions of
    that many rows count each row S times. At S = 1 we count distinct rows, n; at S > n none fits.

    >>> johnson_bound(n=250, S=6)
    2041
    """
    count("n", n), count("S", S)
    if S > n:
        return 0
    return n if S == 1 else n * ((n - 1) // (S - 1)) // S


def transversal_design(*, T: int, n: int, S: int) -> Int[np.ndarray, "T S"]:
    """T rows of S positions of which any two rows share at most one, evenly loaded.

    Beyond the post. The positions are S groups of q (H on the page), and circuit (k, r) takes from
    group x its position r + k (S-1-x) mod q. Circuits (k, r) and (k', r') meet in group x if

        r - r' + (k - k') (S-1-x) = 0 mod q.

    If they meet in groups x and y, then (k - k') (x - y) = 0; as 0 < |x - y| < S and nothing below
    S but 1 divides q, k = k' and so r = r'. The q circuits of one k are disjoint and use all S q
    positions (a parallel class): with q the largest there is with S q <= n, the loads of these
    positions differ by at most 1 for every T <= q^2.

    Two classes need only q >= S. So up to 2 (n // S) circuits q is n // S, whatever divides it, and
    as few circuits meet as can: none where T S <= n. For more than q^2 circuits, positions beyond
    S q join the last group, and as no two positions of a group are in one row yet, every group is
    filled in the same way. A q with S q > n serves if it places more then: the last group is short,
    and circuits that would need its missing positions are left out.

    Raises ValueError if T is beyond `transversal_design_capacity`.

    >>> transversal_design(T=6, n=6, S=2)  # q = 3
    array([[0, 3],
           [1, 4],
           [2, 5],
           [1, 3],
           [2, 4],
           [0, 5]])
    """
    capacity = transversal_design_capacity(n=n, S=S)
    if count("T", T) > capacity:
        raise ValueError(
            f"T={T} exceeds the {capacity} circuits that transversal_design can place at "
            f"n={n}, S={S}; no allocation can place more than {johnson_bound(n=n, S=S)} "
            "(Johnson bound)"
        )
    room("T", T, 4 * T * S)
    return _rows(T, n, S)


def transversal_design_capacity(*, n: int, S: int) -> int:
    """The largest T that `transversal_design` can place: 1976 at n = 250, S = 6; 0 when S > n.

    With l = n - (S-1) q positions in the last group it is C(n) = q min(q, l) + (S-1) C(q) + C(l).
    """
    return _plan(places(n), count("S", S))[0]


@cache
def _plan(n: int, S: int) -> tuple[int, int]:
    """The capacity and the group size q that gives it; q = 0 stands for n // S disjoint rows."""
    plans = [(n // S, 0)]
    for q in filter(None, (_whole(n, S), _short(n, S))):
        last = n - (S - 1) * q
        filled = (S - 1) * _plan(q, S)[0] + _plan(last, S)[0]
        plans.append((q * min(q, last) + filled, q))
    return max(plans)


def _whole(n: int, S: int) -> int:
    """The largest q that fits S times into n, or 0."""
    return next((q for q in range(n // S, S - 1, -1) if _fits(q, S)), 0)


def _short(n: int, S: int) -> int:
    """The smallest q that fits more than S - 1 times, but not S times, into n, or 0."""
    sizes = range(max(n // S + 1, S), (n - 1) // max(S - 1, 1) + 1)
    return next((q for q in sizes if _fits(q, S)), 0)


def _fits(q: int, S: int) -> bool:
    """Whether nothing in 2..S-1 divides q; it need not be a prime."""
    return S > 1 and gcd(q, factorial(S - 1)) == 1


def _rows(T: int, n: int, S: int) -> Int[np.ndarray, "T S"]:
    """T rows: parallel classes, then those in the last group, then those in all others in turn."""
    q = n // S
    if T <= q or (T <= 2 * q and S <= q):
        return _few(T, n, S)
    q = _whole(n, S)
    q = q if T <= q * q else _plan(n, S)[1]
    last = n - (S - 1) * q
    size = min(q, last)
    rows = _classes(min(T, q * size), q, size, S)
    if T > len(rows):
        of_last = (S - 1) * q + _rows(_plan(last, S)[0], last, S)
        of_group = _rows(_plan(q, S)[0], q, S)
        of_groups = of_group[:, None, :] + q * np.arange(S - 1)[:, None]
        rows = np.concatenate([rows, of_last, of_groups.reshape(-1, S)])[:T]
    return rows


def _classes(T: int, q: int, size: int, S: int) -> Int[np.ndarray, "T S"]:
    """T rows on S groups of q, in classes of the same k; of each class the first `size`."""
    k, r = np.divmod(np.arange(T), size)
    return np.stack([x * q + (r + k * (S - 1 - x)) % q for x in range(S)], 1)


def _few(T: int, n: int, S: int) -> Int[np.ndarray, "T S"]:
    """At most two classes, on groups as large as fit; the first row that meets takes what is left.

    Side by side if T S <= n. Else each position is in one row or two, so that T S - n pairs meet.
    """
    q = n // S
    rows = _classes(T, q, q, S)
    if T > q:
        rows[q] = [*rows[q, n - S * q :], *range(S * q, n)]
    return rows
