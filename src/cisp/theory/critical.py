"""How the critical number of circuits grows with the width, by powers of it (C12.1)."""

from math import inf, log

import numpy as np
from jaxtyping import Float

from cisp.arguments import count, refuse

EXTENTS = 70_000  # to which a neuron may be on: those of layer L-1 are looked at one by one


def derived_critical_exponent(*, S: int, L: int) -> float:
    """The exponent of D with which the critical T of layer L grows, for wide networks (C12.1).

    Let rho = n^-a be the share of links, and let n^e neurons be on by mistake to an extent s. One
    of their links is there at the cost a - e, that is with probability n^(e-a); one of a position
    that is on rightly at the cost a, with s = 1. Links that bring X > S/4 together leave their
    neuron on to the extent 2 X/S - 1/2, and those of the least cost G wake n^(1-G) of them, in
    every layer from the second on. While all costs are positive chi M, which takes from active
    circuits, vanishes as n grows. Once one is 0 in layer L-1 it does not; with T ~ rho n^2 the
    exponent is 2 - a for the largest such a.

    Where S is divisible by 4, h* - 1 links to right ones and one to a wrong one cost least, and
    a = (L-2)/(h* (L-2) + 1) with h* = S/4 + 1, the fewest links that wake a neuron.

    >>> [round(derived_critical_exponent(S=4, L=L), 4) for L in (3, 4, 5)]
    [1.6667, 1.6, 1.5714]
    """
    count("S", S), count("L", L, low=3)
    if (L - 2) * log(2 * S) > log(EXTENTS):
        refuse("L", L, f"so few at S={S} that (2 S)^(L-2) is at most {EXTENTS:,}")
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        a = (low + high) / 2
        low, high = (a, high) if _spreads(a, S, L) else (low, a)
    return 2 - low


def _spreads(a: float, S: int, L: int) -> bool:
    """Whether a link costs nothing in layer L-1 or before."""
    cost = np.array([inf, a])  # of a link to a neuron that is on to an extent k/q
    for _ in range(2, L):
        q = len(cost) - 1
        least = _gathered(cost, -(-3 * S * q // 4))  # by X q
        cost = np.full(2 * S * q + 1, inf)
        X = np.arange(S * q // 4 + 1, len(least))
        cost[np.minimum(4 * X - S * q, 2 * S * q)] = a - 1 + least[X]
        cost[cost > a + 1e-12] = inf  # not one of them in a wide network
        cost[-1] = min(cost[-1], a)
        if cost.min() <= 0:
            return True
    return False


def _gathered(cost: Float[np.ndarray, " k"], most: int) -> Float[np.ndarray, " X"]:
    """The least cost of links whose extents add up to X/q or more, for X to `most`."""
    below = np.minimum.accumulate(cost[::-1])[::-1]  # of a link as strong or stronger
    worth = [k for k in range(1, len(cost)) if cost[k] < np.append(below, inf)[k + 1]]
    least = np.zeros(most + 1)
    for X in range(1, most + 1):
        least[X] = min(least[max(X - k, 0)] + cost[k] for k in worth)
    return least
