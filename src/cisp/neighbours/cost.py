"""What it costs to store T features in n neurons, z of them active at once.

A code is an array of T unit vectors of length n, a row for each feature. A layer holds the sum of
the active ones, each times its value, and a read-out of feature t is the inner product with row t:
the value, and noise from each other active feature u, its value times g_tu, their inner product.
q is the mean of g_tu^2 over pairs. The chapter is 25; C25.1 and its bound on z are those of the
post "Some costs of superposition" (Linsefors 2024), whose m and l are T and z here.
"""

from collections.abc import Sequence
from math import inf, log
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import optimize, special, stats

from cisp.arguments import DEEPEST, count, generator, instance, number, room, told

LARGEST_S = 30  # terms of alternating signs, the largest 10^8
Code = Float[np.ndarray, "T n"]
Seed = int | Sequence[int] | np.random.Generator


class Interference(NamedTuple):
    """Inner products of different rows of a code: root mean square, largest size, mean.

    >>> found = interference(np.array([[1.0, 0], [0.6, 0.8]]))
    >>> round(float(found.rms), 2), round(float(found.largest), 2), round(float(found.mean), 2)
    (0.6, 0.6, 0.6)
    """

    rms: float
    largest: float
    mean: float


def random_code(*, T: int, n: int, rng: Seed = 0) -> Code:
    """T unit vectors in independent random directions.

    >>> code = random_code(T=3, n=5)
    >>> np.linalg.norm(code, axis=1).round(3).tolist()
    [1.0, 1.0, 1.0]
    """
    room("T", T, 2 * count("T", T) * count("n", n))
    rows = generator(rng).normal(size=(T, n))
    return _unit(rows)


def optimised_code(*, T: int, n: int, power: int = 8, steps: int = 300, rng: Seed = 0) -> Code:
    """A random code moved by steepest descent on the sum of g_tu^power over pairs.

    power: an even number. 2 leads to a tight frame, of the least q there is (C25.3); a large one
        presses the largest inner product down as well. Costs T^2 n for each step.

    >>> code = optimised_code(T=6, n=4, power=2)
    >>> round(float(interference(code).rms) ** 2, 3), round(least_q(T=6, n=4), 3)
    (0.1, 0.1)
    """
    code = random_code(T=T, n=n, rng=rng)
    room("T", T, 4 * T**2)
    if count("power", power, low=2) % 2:
        raise ValueError(f"power={power} is not allowed; power must be even")
    for step in range(count("steps", steps, low=0)):
        g = code @ code.T
        np.fill_diagonal(g, 0)
        largest = max(abs(g).max(), 1e-300)
        g /= largest  # else high powers vanish
        square, slope = g * g, g
        for _ in range(power // 2 - 1):
            slope = slope * square
        pull = slope @ code
        pull -= (pull * code).sum(1, keepdims=True) * code  # along the sphere
        longest = max(np.linalg.norm(pull, axis=1).max(), 1e-300)
        code = _unit(code - min(0.15, largest) * (1 - step / steps) * pull / longest)
    return code


def table_code(table: Int[np.ndarray, "T S"], *, n: int, rng: Seed | None = None) -> Code:
    """The code whose row t is 1/sqrt(S) on the S positions of row t of a table, and 0 elsewhere.

    rng: for signs at random; without, all are positive.

    >>> table = np.array([[0, 1], [1, 2]])
    >>> table_code(table, n=3).round(2).tolist()
    [[0.71, 0.71, 0.0], [0.0, 0.71, 0.71]]
    """
    table = _table(table, n)
    T, S = table.shape
    room("n", n, 2 * T * n)
    code = np.zeros((T, n))
    signs = 1.0 if rng is None else generator(rng).choice([-1.0, 1.0], size=table.shape)
    np.put_along_axis(code, table, signs / S**0.5, 1)
    return code


def interference(code: Code) -> Interference:
    """Root mean square, largest size and mean of the inner products of different rows.

    >>> table = np.array([[0, 1], [1, 2]])
    >>> found = interference(table_code(table, n=3))
    >>> round(float(found.largest), 2)  # one shared position of two
    0.5
    """
    code = _code(code)
    T = len(code)
    g = code @ code.T
    np.fill_diagonal(g, 0)
    pairs = T * (T - 1)
    return Interference((np.vdot(g, g) / pairs) ** 0.5, abs(g).max(), g.sum() / pairs)


def lemma_noise(*, T: int, n: int) -> float:
    """epsilon = sqrt(8 ln T / n), the noise between two features by the post (C25.1).

    The least epsilon for which the Johnson-Lindenstrauss lemma promises lengths within a factor
    sqrt(1 +- epsilon). Inner products are then at most 2 epsilon/(1 - epsilon).

    >>> round(lemma_noise(T=1000, n=1000), 2)
    0.24
    """
    return (8 * log(count("T", T)) / count("n", n)) ** 0.5


def random_largest(*, T: int, n: int) -> float:
    """The median, over random codes, of the largest size of an inner product (C25.2).

    g^2 is distributed as Beta(1/2, (n-1)/2), of mean q = 1/n; T(T-1)/2 pairs as if independent.

    >>> round(random_largest(T=1000, n=1000), 2)
    0.15
    """
    pairs = count("T", T, low=2) * (T - 1) / 2
    beyond = -np.expm1(-log(2) / pairs)
    return float(stats.beta.isf(beyond, 0.5, (count("n", n, low=2) - 1) / 2) ** 0.5)


def least_q(*, T: int, n: int) -> float:
    """The least q that any code has, (T-n)/(n (T-1)), and 0 for T <= n (C25.3; Welch 1974).

    >>> least_q(T=3, n=2)
    0.25
    """
    return max(count("T", T, low=2) - count("n", n), 0) / (n * (T - 1))


def all_right(*, T: int, q: float | int, z: int) -> float:
    """The probability [1 - Q(1/(2 sigma))]^T that all of T Boolean features are read right (C25.4).

    Read against 1/2, with noise of variance sigma^2 = z q as if it were Gaussian, and independent.

    >>> [round(all_right(T=1000, q=0.001, z=z), 2) for z in (10, 20, 40)]
    [1.0, 0.82, 0.0]
    """
    sigma = (count("z", z) * number("q", q, low=0, high=1)) ** 0.5
    wrong = stats.norm.sf(0.5 / sigma) if sigma else 0.0
    return float((1 - wrong) ** count("T", T))


def most_active(*, T: int, q: float | int) -> float:
    """The z at which half of all inputs are read right throughout, 1/(4 q k^2), or T (C25.5).

    From C25.4, with k such that (1 - Q(k))^T = 1/2. For large T, k^2 nears 2 ln T and z therefore
    1/(8 q ln T): of random codes n/(8 ln T), the post's bound.

    >>> round(most_active(T=1000, q=0.001), 1)
    24.5
    """
    k = stats.norm.isf(-np.expm1(-log(2) / count("T", T, low=2)))
    q = number("q", q, low=0, high=1)
    return min(float(1 / (4 * q * k**2)), float(T)) if q else float(T)


def levels(*, q: float | int, z: int, wrong: float | int = 0.01) -> float:
    """M, the levels 0, 1/(M-1), ..., 1 that active values can take with few of them lost (C25.7).

    A value is lost if the noise exceeds half a step, at the ends on one side only: a share `wrong`,
    at most 1/2.
    The z - 1 others take the same levels, so that the noise has variance (z-1) q E v^2, where
    E v^2 = (2M-1)/(6(M-1)). 1 if not even two levels can be told apart, inf without noise.

    >>> [round(levels(q=0.001, z=z), 1) for z in (2, 5, 20)]
    [11.5, 6.2, 3.3]
    """
    noise = ((count("z", z) - 1) * number("q", q, low=0, high=1)) ** 0.5
    number("wrong", wrong, low=0, high=0.5)

    def lost(M: float | int) -> float:
        """The share of values that are lost, less what may be."""
        sigma = noise * ((2 * M - 1) / (6 * (M - 1))) ** 0.5
        return 2 * (M - 1) / M * float(stats.norm.sf(0.5 / (M - 1) / sigma)) - wrong

    if not noise:
        return inf
    return 1.0 if lost(2) > 0 else float(optimize.brentq(lost, 2, 2 + 20 / noise))


def compounded(*, T: int, q: float | int, z: int, layers: int) -> Float[np.ndarray, " layers"]:
    """sigma_l^2 = (1 + (T-1) q) sigma_{l-1}^2 + z q, the noise on an inactive feature (C25.8).

    For layers that read every feature, noise and all, and write it in a code drawn anew.

    >>> compounded(T=1000, q=0.001, z=10, layers=3).round(3).tolist()
    [0.01, 0.03, 0.07]
    """
    count("z", z, high=count("T", T)), number("q", q, low=0, high=1)
    growth = 1 + (T - 1) * q
    with np.errstate(over="ignore"):  # inf, in the end
        return z * q * np.cumsum(growth ** np.arange(count("layers", layers, high=DEEPEST)))


def falsely_on(*, T: int, n: int, S: int, z: int) -> float:
    """The probability that z features together take all S positions of another (C25.6).

    For tables whose rows share at most one position and load all n alike, m = T S/n - 1 others on
    each. Each of the z is on one of the S positions or on none, j given ones stay free with
    probability C(T-1-j m, z)/C(T-1, z), and inclusion and exclusion do the rest. 0 for z < S.
    S at most 30, as the sum loses its digits beyond.

    >>> [round(falsely_on(T=557, n=250, S=6, z=z), 4) for z in (6, 20, 40)]
    [0.0, 0.0014, 0.0431]
    """
    S = count("S", S, high=min(count("n", n), LARGEST_S))
    z = count("z", z, high=count("T", T, low=2) - 1)
    others, j = T - 1 - np.arange(z), np.arange(S + 1)
    free = np.clip(1 - j[:, None] * max(T * S / n - 1, 0) / others, 0, None).prod(1)
    return max(float((-1.0) ** j * special.comb(S, j) @ free), 0.0) if z >= S else 0.0


def draw(*, T: int, z: int, samples: int, rng: Seed = 0) -> Bool[np.ndarray, "samples T"]:
    """Which features are active, z of T at random on each input.

    >>> draw(T=12, z=2, samples=5).sum(1).tolist()
    [2, 2, 2, 2, 2]
    """
    count("z", z, high=count("T", T)), count("samples", samples)
    room("samples", samples, 2 * samples * T)
    rank = generator(rng).random((samples, T)).argsort(1)
    return rank < z


def carry(
    codes: Sequence[Code], x: Shaped[np.ndarray, "samples T"]
) -> Float[np.ndarray, "layers samples T"]:
    """What each layer reads of every feature: x, written and read in one code after another.

    >>> code = np.array([[1.0, 0], [0.6, 0.8]])
    >>> carry([code], np.array([[1.0, 0]])).round(2).tolist()  # the other reads g = 0.6
    [[[1.0, 0.6]]]
    """
    instance("codes", codes, list, tuple)
    found = []
    for k, code in enumerate(codes):
        code = _code(code, f"codes[{k}]")
        x = (_of(len(code), "x", x, "bf") @ code) @ code.T
        found.append(x)
    if not found:
        raise ValueError("codes is empty; it must hold at least one code")
    return np.stack(found)


def all_on(
    table: Int[np.ndarray, "T S"], on: Bool[np.ndarray, "samples T"], *, n: int
) -> Bool[np.ndarray, "samples T"]:
    """Of which features all S positions are on: a position is, if an active feature has it.

    >>> table = np.array([[0, 1], [1, 2], [0, 2]])
    >>> all_on(table, np.array([[True, True, False]]), n=3).tolist()  # circuit 2 falsely
    [[True, True, True]]
    """
    table = _table(table, n)
    taken = _of(len(table), "on", on, "b") @ (table_code(table, n=n) > 0)
    return np.asarray(taken[:, table].all(2))


def _unit(rows: Code) -> Code:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _of(T: int, name: str, value: object, kinds: str) -> np.ndarray:
    """The value, or a ValueError unless it is an array of T columns, booleans or floats."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] != T:
        raise ValueError(f"{name} is {told(value)}; it must be an array of shape (samples, {T})")
    if value.dtype.kind not in kinds:
        allowed = "booleans" if kinds == "b" else "floats or booleans"
        raise ValueError(f"{name} is an array of {value.dtype}; it must be of {allowed}")
    return value


def _code(code: object, name: str = "code") -> Code:
    """The code, or a ValueError unless it is unit vectors, two at least."""
    if not isinstance(code, np.ndarray) or code.ndim != 2 or code.dtype.kind != "f":
        raise ValueError(f"{name} is {told(code)}; it must be a float array of shape (T, n)")
    if len(code) < 2 or not np.allclose((code**2).sum(1), 1):
        raise ValueError(f"{name} is {told(code)}; its rows must be two or more unit vectors")
    return code


def _table(table: object, n: int) -> Int[np.ndarray, "T S"]:
    """The table, or a ValueError unless its rows are different positions below n."""
    count("n", n)
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.dtype.kind not in "iu":
        raise ValueError(f"table is {told(table)}; it must be an array of integers, (T, S)")
    ordered = np.sort(table, 1)
    if not table.size or ordered[:, 0].min() < 0 or ordered[:, -1].max() >= n:
        raise ValueError(f"table is {told(table)}; its positions must be in 0..{n - 1}")
    if (np.diff(ordered, axis=1) == 0).any():
        raise ValueError(f"table is {told(table)}; a row must not hold a position twice")
    return table
