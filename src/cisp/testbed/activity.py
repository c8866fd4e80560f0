"""Which circuits are active: as many as asked for, or each with a probability of its own."""

from collections.abc import Callable, Mapping
from math import inf

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri

from cisp.allocation import random_subsets
from cisp.arguments import count

Draw = Callable[[int, int, np.random.Generator], Bool[np.ndarray, "batch T"]]
Activity = int | Mapping[int, float | int] | Draw


def drawn(activity: Activity, T: int) -> Draw:
    """How the sets of active circuits are drawn: z, shares of several z, or a function itself.

    Raises ValueError for a z beyond 0..T, or for shares that are negative or all 0.
    """
    if callable(activity):
        return activity
    shares = activity if isinstance(activity, Mapping) else {activity: 1}
    for z in shares:
        count("z", z, low=0, high=T)
    given = np.array([*shares.values()], dtype=float)
    if not len(given) or not (given >= 0).all() or not 0 < given.sum() < inf:
        raise ValueError(f"z={dict(shares)} is not allowed; shares must not be negative, nor all 0")
    return _Fixed(np.array([*shares]), given / given.sum())


class _Fixed:
    """z active circuits, every set alike, with z drawn by its share."""

    def __init__(self, z: np.ndarray, share: np.ndarray) -> None:
        self.z, self.share = z, share

    def __call__(self, T: int, batch: int, rng: np.random.Generator) -> Bool[np.ndarray, "batch T"]:
        on = np.zeros((batch, T), dtype=bool)
        each = rng.choice(self.z, batch, p=self.share)
        for z in np.unique(each[each > 0]):
            rows = np.flatnonzero(each == z)
            on[rows[:, None], random_subsets(T=len(rows), n=T, S=int(z), rng=rng)] = True
        return on


def bernoulli(
    p: float | int | Float[np.ndarray, " T"], *, correlation: float | int = 0, group: int = 10
) -> Draw:
    """Circuit t is active with probability p_t, whatever the others do unless they are correlated.

    correlation: of the normal numbers below a threshold of which circuits are active, within groups
        of so many circuits that follow each other; circuits of a group are then active together
        more often than by chance, each as often as before.

    >>> on = bernoulli(0.1, correlation=0.5)(40, 1000, np.random.default_rng(0))
    >>> on.shape, round(float(on.mean()), 2)
    ((1000, 40), 0.1)
    """
    level = np.asarray(p, dtype=float)
    if not ((level >= 0) & (level <= 1)).all() or level.ndim > 1:
        raise ValueError(
            f"p={p!r} is not allowed; it must be a probability, or one for each circuit"
        )
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation={correlation!r} is not allowed; it must be in 0..1")
    count("group", group)

    def draw(T: int, batch: int, rng: np.random.Generator) -> Bool[np.ndarray, "batch T"]:
        if level.ndim and len(level) != T:
            raise ValueError(f"p has {len(level)} probabilities; it must have T={T}")
        common = rng.normal(size=(batch, -(-T // group))).repeat(group, 1)[:, :T]
        own = rng.normal(size=(batch, T))
        return correlation**0.5 * common + (1 - correlation) ** 0.5 * own < ndtri(level)

    return draw


def zipf(
    mean: float | int,
    *,
    T: int,
    exponent: float | int = 1,
    correlation: float | int = 0,
    group: int = 10,
) -> Draw:
    """Circuit t is active with a probability in proportion to (t + 1)^-exponent, at most 1.

    mean: of how many of the T circuits are active. correlation, group: as in `bernoulli`.

    Raises ValueError if the mean exceeds T.

    >>> on = zipf(2.0, T=40)(40, 10_000, np.random.default_rng(0))
    >>> [round(float(p), 1) for p in (on.sum(1).mean(), *on.mean(0)[:2])]
    [2.0, 0.5, 0.2]
    """
    if not 0 < mean <= count("T", T):
        raise ValueError(
            f"mean={mean!r} is not allowed; it must be in 0..{T}, the number of circuits"
        )
    weight = (1.0 + np.arange(T)) ** -exponent
    p = np.minimum(weight * mean / weight.sum(), 1)
    while p.sum() < mean * (1 - 1e-9):  # what goes beyond 1 is shared out among the others
        free = p < 1
        p[free] = np.minimum(p[free] * (mean - (~free).sum()) / p[free].sum(), 1)
    return bernoulli(p, correlation=correlation, group=group)
