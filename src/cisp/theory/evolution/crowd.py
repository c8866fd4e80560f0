"""An allocation as its circuits meet each other, by the loads of its positions alone."""

from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import gammaln

from cisp import allocation
from cisp.allocation import Table, check_table, prime_steps
from cisp.arguments import count

LEVELS = 8  # steps between an indicator of 0 and one of 1
FINE = 60  # steps in which numbers are counted before they are parted
CLASSES = 8  # classes of positions by load, and kinds of rows by theirs

Array = Float[np.ndarray, "..."]
Numbers = Num[np.ndarray, "..."] | float | int


@dataclass(frozen=True, eq=False)
class Crowd:
    """T circuits on n positions, S each: classes of positions, kinds of rows, what they meet.

    chi: of 5.24. size (c,): positions of each class. others (c,): circuits on one of them besides
    the one that looks. mix (k, c): the classes of a row's S positions, for each kind of row, as
    if drawn one by one. share (k,): of the rows. met (k,): the mean of `others` over a row.
    spread (k,): its variance within a row.
    alike: E k^2/E k, with k the positions that two rows share: 1 where they share at most one.
    levels: steps between an indicator of 0 and one of 1.
    """

    T: int
    n: int
    S: int
    chi: float
    size: Float[np.ndarray, " c"]
    others: Float[np.ndarray, " c"]
    mix: Float[np.ndarray, "k c"]
    share: Float[np.ndarray, " k"]
    met: Float[np.ndarray, " k"]
    spread: Float[np.ndarray, " k"]
    alike: float = 1
    levels: int = LEVELS

    @cached_property
    def indicators(self) -> Float[np.ndarray, " s"]:
        """The indicators that a neuron can have, from 0 to 1."""
        return np.arange(self.levels + 1) / self.levels

    @cached_property
    def values(self) -> Float[np.ndarray, " a"]:
        """The read-outs: means of S indicators."""
        return np.arange(self.S * self.levels + 1) / (self.S * self.levels)

    def empty(self, z: int) -> Float[np.ndarray, " c"]:
        """The positions of each class that none of z active circuits takes, on average."""
        return self.size * none(self.T, self.others + 1, z)

    def occupied(self, z: int) -> float:
        """The positions that z active circuits take, on average: z S less those shared."""
        return float((self.size - self.empty(z)).sum())

    @cached_property
    def meets(self) -> float:
        """The mean number of positions that two circuits share, S^2 d/D or a little more (6.3)."""
        return self.S * float(self.share @ self.met) / (self.T - 1)

    def twice(self, z: int) -> Float[np.ndarray, " c"]:
        """How often a position of a row that one of z other circuits takes is taken by two."""
        T, c = self.T - 1, self.others
        free, one = none(T, c, z), z * c / T * none(T - 1, np.maximum(c - 1, 0), z - 1)
        share = np.maximum(1 - one / np.maximum(1 - free, 1e-12), 0)
        return np.where((c > 0) & (z > 1), share, 0)

    def taken_by(self, z: int) -> Float[np.ndarray, "2 c"]:
        """The positions of each class that one of z active circuits takes, and that more take."""
        load = self.others + 1
        empty = none(self.T, load, z)
        one = z * load / self.T * none(self.T - 1, load - 1, z - 1)
        return np.asarray(self.size * np.stack([one, np.maximum(1 - empty - one, 0)]))

    @cached_property
    def apart(self) -> Float[np.ndarray, " c"]:
        """(S-1)(c-1)/(T-2) times the share of Var X that comes from whole rows: see `_apart`.

        Less where rows share several positions, so that a circuit does hear some others twice.
        """
        load = float(np.average(self.others, weights=self.size)) + 1
        Q = none(self.T - 1, self.others, load).clip(1e-9, 1 - 1e-9)
        rows = -np.log(Q) * Q / (1 - Q)
        never = (self.S - 1) * self.others / max(self.T - 2, 1)
        return np.asarray(np.maximum(never - (self.alike - 1), 0) * rows)

    def classes(self, z: int) -> tuple[Float[np.ndarray, "k c"], Float[np.ndarray, "k c"]]:
        """Classes of a row's positions that none of z active circuits takes, and that one takes."""
        free = self.mix * none(self.T - 1, self.others, z)
        shared = self.mix * np.maximum(self.others, 1e-12)
        return free / free.sum(1, keepdims=True), shared / shared.sum(1, keepdims=True)

    def taken(self, kinds: Int[np.ndarray, "r z"]) -> Float[np.ndarray, "r k m"]:
        """P(m): active circuits of these kinds take m of the S positions of a row of each kind."""
        most = kinds.shape[1] if self.alike < 1 + 1e-9 else 2 * kinds.shape[1]
        P = np.zeros((len(kinds), len(self.met), min(most, self.S) + 1))
        P[..., 0] = 1
        free = self.S - np.arange(P.shape[2])
        relative = self.met / max(float(self.share @ self.met), 1e-12)

        def one_more(P: Array, of: int) -> Array:
            """P(m), as once more one of so many positions is taken, which is free or not."""
            moved = P * free / max(of, 1)
            found = P - moved
            found[..., 1:] += moved[..., :-1]
            return found

        for v in range(kinds.shape[1]):
            meets = (self.meets * relative[kinds[:, v], None] * relative)[..., None]
            two = meets * (self.alike - 1) / 2  # E k^2 is alike E k
            once = one_more(P, self.S)
            P = P + (meets - 2 * two) * (once - P) + two * (one_more(once, self.S - 1) - P)
        return P


def crowd_of(
    *,
    T: int,
    D: int,
    d: int,
    S: int,
    table: Table | None = None,
    classes: int = CLASSES,
    levels: int = LEVELS,
) -> Crowd:
    """The crowd of a table, by default of `prime_steps`."""
    if count("D", D) % count("d", d):
        raise ValueError(f"D={D} is not divisible by d={d}; D must be a multiple of {d}")
    n = D // d
    table = (
        prime_steps(T=T, n=n, S=S) if table is None else check_table(table, n=n, max_overlap=np.inf)
    )
    load = allocation.load(table, n=n)
    if table.shape != (count("T", T, low=2), S):
        raise ValueError(f"table has shape {table.shape}; it must be (T, S) = ({T}, {S})")
    used, c = np.flatnonzero(load), load[load > 0]
    of_used = parts(np.repeat(c, c), classes)[c.cumsum() - c]
    of = np.zeros(n, int)
    of[used] = of_used
    size = np.bincount(of_used).astype(float)
    kind = kinds_of_rows(table, n, classes)
    share = np.bincount(kind) / T
    rows = [np.flatnonzero(kind == k) for k in range(len(share))]
    mix = [np.bincount(of[table[r]].ravel(), minlength=len(size)) / (len(r) * S) for r in rows]
    return Crowd(
        T=T,
        n=n,
        S=S,
        chi=balance(T, S, c),
        size=size,
        others=np.bincount(of_used, c) / size - 1,
        mix=evened(np.stack(mix), share, load[table]),
        share=share,
        met=np.array([load[table[r]].mean() - 1 for r in rows]),
        spread=np.array([load[table[r]].var(1).mean() for r in rows]),
        alike=alike(table, n),
        levels=levels,
    )


def evened(
    mix: Float[np.ndarray, "k c"], share: Float[np.ndarray, " k"], loads: Int[np.ndarray, "T S"]
) -> Float[np.ndarray, "k c"]:
    """The classes of each kind's positions, so that S drawn from them vary as those of a row do.

    The mean load of a row has variance V/S where positions have nothing to do with each other, V
    that of a load; kinds of rows stand for what it has beyond.
    """
    S = loads.shape[1]
    alone = loads.var() / S / max(loads.mean(1).var(), 1e-12)
    kept = np.sqrt(max(1 - alone, 0) / (1 - 1 / S)) if S > 1 else 1.0
    return np.asarray(share @ mix + kept * (mix - share @ mix))


def kinds_of_rows(table: Table, n: int, classes: int = CLASSES) -> Int[np.ndarray, " T"]:
    """The kind of each row, by how many circuits it meets."""
    return parts(allocation.load(table, n=n)[table].mean(1), classes)


def parts(x: Num[np.ndarray, " x"], most: int) -> Int[np.ndarray, " x"]:
    """The part of each number: up to so many, each narrower where more numbers are."""
    low, wide = x.min(), max(np.ptp(x), 1e-12)
    of = ((x - low) / wide * FINE).astype(int)
    share = np.cbrt(np.bincount(of))
    below = (share.cumsum() - share / 2) / share.sum()
    return np.unique((most * below[of]).astype(int), return_inverse=True)[1]


def alike(table: Table, n: int) -> float:
    """E k^2/E k, with k the positions that two rows share: 1 where they share at most one."""
    mean = allocation.mean_overlap(table, n=n)
    return table.shape[1] * allocation.mean_squared_overlap(table, n=n) / mean if mean else 1.0


def linked(crowd: Crowd, less: int) -> Float[np.ndarray, "k c h"]:
    """P(h): h of the S - less positions of an active row are linked to another position.

    The circuits through different positions of a row are different ones, so j positions are
    missed by the d circuits of the other position with probability none(T, j met, d), to
    second order in how the loads differ within a row; inclusion and exclusion gives h. One that
    is on two of them counts once.
    """
    S, T = crowd.S - less, crowd.T - 2
    j = np.arange(S + 1)
    different = j - (crowd.alike - 1) / 2 * j * (j - 1) / max(crowd.S - 1, 1)
    missed = none(T, different * crowd.met[:, None, None], crowd.others[:, None])
    uneven = j * (S - j) / max(S - 1, 1) * crowd.spread[:, None, None]
    missed *= 1 + uneven * np.log1p(-np.minimum(crowd.others / T, 0.9))[:, None] ** 2 / 2
    P = np.zeros((*missed.shape[:2], crowd.S + 1))
    for h in range(S + 1):
        for i in range(h + 1):
            P[..., h] += comb(S, h) * comb(h, i) * (-1) ** i * missed[..., S - h + i]
    return P.clip(0)


def none(T: int, c: Numbers, d: Numbers) -> Array:
    """The probability that c and d of T circuits, drawn apart, have none in common."""
    c, d = np.asarray(c, float), np.asarray(d, float)
    left = T - c - d
    log = gammaln(np.maximum(T - c, 0) + 1) + gammaln(np.maximum(T - d, 0) + 1)
    log -= gammaln(np.maximum(left, 0) + 1) + gammaln(T + 1)
    return np.where(left < 0, 0.0, np.exp(np.minimum(log, 0)))


def balance(T: int, S: int, load: Int[np.ndarray, " used"]) -> float:
    """chi of 5.24, with every entry's chance of use in place of a dealing's used entries."""
    c, positions = np.unique(load, return_counts=True)
    used = 1 - none(T, c[:, None], c)
    M = (positions * c) @ used @ (positions * c) - T * S**2
    rest = T * (T - 1) * S**2 - M
    if rest <= 1e-9 * T * S:
        raise ValueError(
            f"T={T} circuits use every entry of the embedding matrix at S={S}, so no chi solves "
            "5.24; take fewer circuits or a larger D"
        )
    return float(M / (S * rest))
