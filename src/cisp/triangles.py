"""Tables in which two circuits share at most one position and no three meet pairwise in three.

Beyond the post. They are linear (6,3)-free systems of Ruzsa and Szemeredi (1978), for any S.
"""

from collections.abc import Iterator
from functools import cache
from itertools import islice
from math import factorial, gcd

import numpy as np
from jaxtyping import Int

from cisp.arguments import count, room

EXACT = 40  # the slopes are as many as can be for q below this
SEARCHED = 128  # up to this q slopes are searched with symmetry, above they are products
GREEDY = 600  # up to this q plainly too
TRIES = 60
MOST = 10**6  # positions, for which slopes are found within half a minute
NEAREST = 1024  # of the q below n // S, so many are looked at


def triangle_free(*, T: int, n: int, S: int) -> Int[np.ndarray, "T S"]:
    """T rows of S positions: any two share at most one, and no three form a triangle.

    The positions are S groups of q. Circuit (k, r) takes position r + k x mod q of group x, with r
    in Z_q and its slope k from a set K. No number in 2..S-1 has a divisor in common with q, so that
    every gap x - y has an inverse.

    Circuits that meet in groups x and y have (k - k') (x - y) = 0, so k = k' and r = r'. Three that
    meet pairwise, in groups x < y < w with gaps a = y - x and b = w - y, have, their three
    equations r - r' = -(k - k') x added up,

        a k_1 + b k_2 = (a + b) k_3  mod q,

    which no three different slopes of K solve. The q circuits of one slope use every position
    once, so loads of the positions in use differ by at most 1 for every T.

    Raises ValueError if T is beyond `triangle_free_capacity`.

    >>> triangle_free(T=5, n=9, S=3)  # q = 3, slopes 0 and 1
    array([[0, 3, 6],
           [1, 4, 7],
           [2, 5, 8],
           [0, 4, 8],
           [1, 5, 6]])
    """
    capacity = triangle_free_capacity(n=n, S=S)
    if count("T", T) > capacity:
        raise ValueError(
            f"T={T} exceeds the {capacity} circuits that triangle_free can place at n={n}, S={S}"
        )
    room("T", T, 4 * T * S)
    q, slopes = _plan(n, S)
    k, r = np.divmod(np.arange(T), q)
    x = np.arange(S)
    return x * q + (r[:, None] + np.array(slopes)[k][:, None] * x) % q


def triangle_free_capacity(*, n: int, S: int) -> int:
    """The largest T that `triangle_free` can place: 605 at n = 166, S = 3; 0 when S > n.

    It is q |K|, the most of all q with S q <= n that serve, or of the 1024 largest.

    >>> triangle_free_capacity(n=200, S=3)
    910
    """
    q, slopes = _plan(count("n", n, high=MOST), count("S", S))
    return q * len(slopes)


@cache
def slopes_without_progressions(q: int, S: int) -> tuple[int, ...]:
    """A large set K in Z_q where a k_1 + b k_2 = (a + b) k_3 has no solution but k_1 = k_2 = k_3.

    For all a, b >= 1 with a + b < S; at S = 3 a set without three terms in progression. It is the
    largest there is for q < 40. Beyond, it is the largest of: the greedy set; greedy sets that are
    unions of orbits of k -> m k, in random order; and products k_1 + q_1 k_2 of sets for q_1 and
    q_2 with q = q_1 q_2, which serve since the equation mod q_1 makes the three k_1 equal, after
    which it holds mod q_2 for the k_2.

    >>> len(slopes_without_progressions(37, 3)), len(slopes_without_progressions(1369, 3))
    (10, 100)
    """
    if S < 3:
        return tuple(range(q if S == 2 else 1))  # two gaps need three groups
    if q < EXACT:
        return _from_zero(_largest(q, S))
    found: list[list[int]] = [
        _product(q1, q // q1, S) for q1 in range(2, int(q**0.5) + 1) if q % q1 == 0
    ]
    if q <= GREEDY:
        found.append(_greedy(np.arange(q)[:, None], q, S))
    if q <= SEARCHED:
        found += _symmetric(q, S)
    found.sort(key=len)
    return _from_zero(found[-1] if found else [0])


@cache
def _plan(n: int, S: int) -> tuple[int, tuple[int, ...]]:
    """The q with most circuits q |K|, and its slopes; those far below n // S never win."""
    top = n // S
    sizes = range(top, max((3 * top - 40) // 4, 0), -1)
    fitting = islice((q for q in sizes if gcd(q, factorial(S - 1)) == 1), NEAREST if S > 2 else 1)
    plans = [(q * len(K), q, K) for q in fitting if (K := slopes_without_progressions(q, S))]
    return max([*plans, (top, top, (0,))])[1:]  # circuits of one slope need no inverses


def _thirds(k: int, others: Int[np.ndarray, " m"], q: int, S: int) -> Int[np.ndarray, " x"]:
    """Every slope that solves the equation for some gaps, with k and one of the others."""
    found = [np.array([k])]
    for a, b in ((a, both - a) for both in range(2, S) for a in range(1, both)):
        end, middle = pow(a, -1, q), pow(a + b, -1, q)
        found += [((a + b) * others - b * k) * end, ((a + b) * k - b * others) * end]
        found += [(a * others + b * k) * middle, (a * k + b * others) * middle]
    return np.concatenate(found) % q


def _from_zero(slopes: list[int]) -> tuple[int, ...]:
    """The slopes in order, moved so that they begin with 0, which changes no equation."""
    return tuple(k - min(slopes) for k in sorted(slopes))


def _product(q1: int, q2: int, S: int) -> list[int]:
    first, second = (slopes_without_progressions(q, S) for q in (q1, q2))
    return [k1 + q1 * k2 for k2 in second for k1 in first]


def _greedy(orbits: Int[np.ndarray, "orbits m"], q: int, S: int) -> list[int]:
    """Slopes taken orbit by orbit, in the order given, wherever a whole orbit fits."""
    free, chosen = np.ones(q, bool), np.zeros(0, int)
    for orbit in orbits:
        left, kept = free.copy(), chosen
        for k in dict.fromkeys(orbit.tolist()):
            if not left[k]:
                break
            left[_thirds(k, kept, q, S)] = False
            kept = np.append(kept, k)
        else:
            free, chosen = left, kept
    return chosen.tolist()


def _symmetric(q: int, S: int) -> Iterator[list[int]]:
    """Greedy sets of orbits under multiplication by m, in random order; the orders of m: 2..6."""
    rng = np.random.default_rng(q)
    units = [m for m in range(2, q) if any(pow(m, order, q) == 1 for order in range(2, 7))]
    for i in range(TRIES):
        orbit = [pow(units[i % len(units)], order, q) for order in range(6)]
        yield _greedy(rng.permutation(q)[:, None] * orbit % q, q, S)


def _largest(q: int, S: int) -> list[int]:
    """The largest set, by branch and bound; sets are bit masks.

    most[s] is the largest set within s..q-1 (Russian doll search), so that no branch whose next
    slope is s can add more.
    """
    ban = [[_mask(_thirds(k, np.array([other]), q, S)) for other in range(q)] for k in range(q)]
    most, best = [0] * (q + 1), list[int]()

    def extend(chosen: list[int], free: int) -> bool:
        nonlocal best
        if len(chosen) > len(best):
            best = chosen
            return True
        while free and len(chosen) + free.bit_count() > len(best):
            s = (free & -free).bit_length() - 1
            if len(chosen) + most[s] <= len(best):
                return False
            free &= free - 1
            left = free
            for k in chosen:
                left &= ~ban[k][s]
            if extend([*chosen, s], left):
                return True
        return False

    for s in range(q - 1, -1, -1):
        extend([s], (1 << q) - (2 << s))
        most[s] = len(best)
    return best


def _mask(slopes: Int[np.ndarray, " m"]) -> int:
    return sum(1 << k for k in set(slopes.tolist()))
