"""What this book derives: one function for each of its own equations, C7.2 to C14.4.

Those that take a table keep what the post drops, the averages of this very table; those that take
sizes are for an even load of T S/n circuits on each position. Each names the regime it is for. An
overlap of two circuits, o_tu = <e_t|e_u>/S, is 0 or 1/S; o is its mean, q its mean square over
pairs. lambda = T S^2/n^2 is the mean number of circuits that use an entry of W_emb.
"""

from math import exp, expm1, inf

import numpy as np
from jaxtyping import Float

from cisp import allocation
from cisp.allocation import Table
from cisp.arguments import count, number, room

LINKED = 500  # circuits on an entry of W_emb, more than which has no exponential


def derived_first_layer(table: Table, *, n: int, z: int) -> dict[tuple[str, str], float]:
    """The exact errors of conditional rotations in layer 1, by quantity and circuits.

    C7.2, C7.3 and C9.1, in place of 6.43, 6.57 and 6.55 at l = 1; for tables whose rows share at
    most one position and vectors in random directions. Let J be the active circuits that meet an
    inactive one, and K the positions of it that they take: K < J where two take the same one. K
    positions read as on, so E(delta alpha)^2 = E K^2/S^2. With k active circuits on it, a
    position's vector neurons hold the sum of their vectors and 2k - 1, of which the read-out takes
    1 away: E|delta x|^2 = (E J + 8 E(J-K)^2)/S^2. An active circuit gets w_v a_v = (2, 2) + r_v x_v
    from each v that it meets: E|delta x|^2 = 9 (z-1) q + 8 (z-1)(z-2) E[o_tu o_tv].

    Raises ValueError if two rows share more. At z = T nothing is inactive, and its errors are nan.

    >>> from cisp import prime_steps
    >>> found = derived_first_layer(prime_steps(T=557, n=250, S=6), n=250, z=1)
    >>> round(float(found["rotation", "inactive"]), 4)
    0.0039
    """
    table = allocation.check_table(table, n=n)
    mean_square, product = _overlaps(table, n)
    d, (T, S) = _others(table, n), table.shape
    if count("z", z, high=T) == T:
        d = np.full_like(d, np.nan)
    others, met = T - 1, d.sum(1)
    draws = np.arange(min(z, others))

    def none(k: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The probability that the active circuits are none of k given others."""
        left = np.clip(others - k[..., None] - draws, 0, None)
        return (left / (others - draws)).prod(-1)

    p, q = d[:, :, None], d[:, None, :]  # for pairs of positions of t
    same = np.eye(S, dtype=bool)
    both = np.where(same, 1 - none(p), 1 - none(p) - none(q) + none(p + q))
    J = z * met / others
    J_squared = J + z * (z - 1) * met * (met - 1) / (others * max(others - 1, 1))
    # E[N_p 1(q taken)] = E N_p - E[N_p 1(q free)], N_p the active circuits on p
    J_K = (z * p / others - ~same * none(q) * z * p / np.maximum(others - q, 1)).sum((1, 2))
    K_squared = both.sum((1, 2))
    return {
        ("indicator", "inactive"): K_squared.mean() / S**2,
        ("indicator", "active"): 0.0,
        ("rotation", "inactive"): (J + 8 * (J_squared - 2 * J_K + K_squared)).mean() / S**2,
        ("rotation", "active"): (z - 1) * (9 * mean_square + 8 * (z - 2) * product),
    }


def derived_others_w_mean(table: Table, *, n: int, z: int, w_mean_a: float | int) -> float:
    """E|others, w-bar|^2, averaged over dealings of the table: in place of the guess 6.32 (C8.1).

    Between two circuits, S^2 entries of W_emb count, each used with probability 1 - e^-m, where
    m = S^2 T q^2 is the mean number of circuits on an entry. Used or not is a variance of
    (e^m - 1)/S^2 for what circuit t reads from v; the overlap in layer l adds q, that in layer l-1
    cancels (6.30). Circuits on crowded positions have more used entries, m (1 + x_t + x_v), where
    x has the variance V of the number of others that a circuit meets, relative to its mean. This
    part, and the mean of what is read, -o with o = S q, is common to the z-1 active circuits.

        (z-1) [q + (e^m - 1)/S^2 + 2 m (m+o) V] + (z-1)(z-2) [o^2 + (m+o)^2 V],  times |w-bar a|^2

    Within 10 % on prime steps, for m to 0.3; up to 20 % too high on designs that are not filled up,
    for m to 0.9; too low by half on a design whose last circuits meet far fewer others, x near -1.

    >>> from cisp import prime_steps
    >>> table = prime_steps(T=557, n=250, S=6)
    >>> round(float(derived_others_w_mean(table, n=250, z=2, w_mean_a=8)), 3)
    0.135
    """
    table = allocation.check_table(table, n=n, max_overlap=inf)
    T, S = table.shape
    number("w_mean_a", w_mean_a, low=0)
    q, _ = _overlaps(table, n)
    met = _others(table, n).sum(1)
    m, o, V = S**2 * T * q**2, S * q, met.var() / met.mean() ** 2 if met.any() else 0.0
    alone = q + expm1(m) / S**2 + 2 * m * (m + o) * V
    common = o**2 + (m + o) ** 2 * V
    return (count("z", z, high=T) - 1) * (alone + (z - 2) * common) * w_mean_a


def derived_self_adjacent(table: Table, *, n: int) -> float:
    """E<self^l, w_t self^{l-1}> of an active rotation: two adjacent layers' self (C8.2).

    Both go by the same circuits u and share one of their overlaps with them. With the other two at
    their mean o = S q, and less the products of two circuits, as the Delta w_u add up to zero, it
    is o^2 [(T-1) q - (T-2) E(o_tu o_tv)].

    >>> from cisp import prime_steps
    >>> table = prime_steps(T=557, n=250, S=6)
    >>> round(derived_self_adjacent(table, n=250), 5)
    0.00104
    """
    table = allocation.check_table(table, n=n, max_overlap=inf)
    T, S = table.shape
    q, product = _overlaps(table, n)
    return (S * q) ** 2 * ((T - 1) * q - (T - 2) * product)


def derived_rotation_active(table: Table, *, n: int, z: int, layer: int) -> float:
    """E|delta x|^2 of an active circuit with every term of 6.41 right, but no ReLU (C9.2).

    Layer 1 is exact; each later layer adds self, others and previous. Every layer turns what came
    before by the circuit's angle, which makes others uncorrelated with it. Not so self, which is
    turned along: that of adjacent layers is correlated (`derived_self_adjacent`). What is missing:
    neurons that should be off, and the ReLUs of active neurons, which cut off large negative
    noise, the more of it the larger z.

    >>> from cisp import prime_steps
    >>> table = prime_steps(T=557, n=250, S=6)
    >>> found = [derived_rotation_active(table, n=250, z=2, layer=layer) for layer in (1, 2, 3)]
    >>> np.round(found, 2).tolist()
    [0.04, 0.19, 0.35]
    """
    table = allocation.check_table(table, n=n)
    T, z = len(table), count("z", z, high=len(table))
    q, _ = _overlaps(table, n)
    each = z * (T - 1) * q**2 + (z - 1) * q + derived_others_w_mean(table, n=n, z=z, w_mean_a=8)
    adjacent = derived_self_adjacent(table, n=n)
    first = derived_first_layer(table, n=n, z=z)["rotation", "active"]
    layers = count("layer", layer) - 1  # beyond the first
    return first + layers * each + 2 * max(layers - 1, 0) * adjacent


def derived_noise_variance(*, T: int, n: int, S: int, z: int) -> float:
    """Var u of a neuron of layer 2 that should be off, z (e^lambda - 1)/S (C10.1).

    For an even load. Each of the z S positions that are on is linked to the neuron with probability
    1 - e^-lambda. Balance (5.24) makes 1/S + chi = e^lambda/S: it brings (e^lambda - 1)/S^2.

    >>> round(derived_noise_variance(T=557, n=250, S=6, z=1) ** 0.5, 3)
    0.251
    """
    return count("z", z, high=count("T", T)) * expm1(_lambda(T, n, S)) / S


def derived_noise_return(*, T: int, n: int, S: int) -> float:
    """kappa = n (e^lambda - 1)/S^2, about T d/D, for an even load (C10.4).

    The variance that all n neurons receive together per unit of sum_p s_p^2 that is sent.

    >>> round(derived_noise_return(T=557, n=250, S=6), 2)
    2.63
    """
    return n * expm1(_lambda(T, n, S)) / S**2


def derived_embedding_mean(table: Table, *, n: int, chi: float) -> Float[np.ndarray, "n n"]:
    """E (W_emb)_pp' over dealings of the table (C13.4).

    With c the load, none of the c_p' circuits on p' in one layer is dealt to p in the next with
    probability about e^(-c_p c_p'/T), for T well above both loads. The entry is then -chi, else
    1/S. Its two outer eigenvalues are the outliers of the matrix of a single dealing.

    >>> table = np.array([[0, 1], [0, 2]])
    >>> derived_embedding_mean(table, n=3, chi=0.1).round(2).tolist()
    [[0.42, 0.28, 0.28], [0.28, 0.14, 0.14], [0.28, 0.14, 0.14]]
    """
    table = allocation.check_table(table, n=n, max_overlap=inf)
    c, (T, S) = allocation.load(table, n=n), table.shape
    room("n", n, n**2)
    number("chi", chi)
    unused = np.exp(-np.outer(c, c) / T)
    return (1 - unused) / S - chi * unused


def derived_outliers(table: Table, *, n: int) -> tuple[float, float]:
    """The outliers of W_emb where few circuits use an entry, m (1+v) (-v -+ sqrt(v^2 + 4v)) / 2.

    For small c_p c_p'/T, E W_emb (C13.4) is [c_p c_p' - m^2 (1+v)^2]/(TS), with m = TS/n the mean
    load and v its variance over m^2: balance (5.24) weighs entries with c_p c_p', which makes
    chi TS the square of sum c^2/sum c = m (1+v). Of rank 2, it has these two eigenvalues, for a
    small v -+ the load's standard deviation.

    >>> np.round(derived_outliers(allocation.prime_steps(T=557, n=250, S=6), n=250), 2).tolist()
    [-3.65, 2.9]
    """
    c = allocation.load(table, n=n)
    m, v = float(c.mean()), float(c.var() / c.mean() ** 2)
    root = (v**2 + 4 * v) ** 0.5
    return m * (1 + v) * (-v - root) / 2, m * (1 + v) * (-v + root) / 2


def derived_extrinsic_active(table: Table, *, n: int, z: int, layer: int) -> float:
    """E|delta x|^2 of an active circuit in an extrinsic network, (z-1) [l q + (l-1) mu] (C14.4).

    An active circuit that v meets leaves an error of length 1/S at the shared position, in each
    layer anew. From layer 2 on, one that a third circuit joins to v leaves 1/(S (S-1)) in each;
    mu = N/(S (S-1))^2, with N the mean number of such joinings of a pair. Angles are unrelated, so
    squares add; errors of errors, which show after some ten layers, and ReLUs are left out. For
    S >= 2 and circuits that load exactly: with `loaded_rotations`, layers from 2 on.

    >>> from cisp import transversal_design
    >>> table = transversal_design(T=557, n=250, S=6)
    >>> round(derived_extrinsic_active(table, n=250, z=2, layer=5), 3)
    0.057
    """
    table = allocation.check_table(table, n=n)
    T, S = table.shape
    room("n", n, n**2)
    layer = count("layer", layer)
    N = _joinings(table, n) / (T * (T - 1))
    q, mu = allocation.mean_squared_overlap(table, n=n), N / (count("S", S, low=2) * (S - 1)) ** 2
    return (count("z", z, high=T) - 1) * (layer * q + (layer - 1) * mu)


def derived_exact_probability(*, T: int, q: int, z: int) -> float:
    """The probability exp(-z S [1 - (1-delta)^(z-1)]^z) that a set of z circuits is exact.

    For tables of S = z + 1 groups of q positions and T/q slopes drawn at random, circuit (k, r) at
    r + k x mod q of group x, and for networks that need one clean channel at each position that an
    active circuit has for itself, as those of `superpose_exact` do. At such a position another
    active circuit u is heard in a given channel if it is, in the group heard, on a circuit through
    the position. There are T/q such circuits; the positions they have there carry T/q circuits
    each, which leaves T/q (T/q - 1) of T choices for u, delta = (T/q - 1)/q of them.

    What is approximated: u is any of T circuits, not of the T - T/q outside the position; a channel
    is dirty independently of the others and of other sets; all z S positions count, those shared
    too, and the failing ones are a Poisson number. Failures come in clusters (a triangle of two
    active circuits fails both), so that more sets are exact than this says: it is low where it is
    below a half, and for fewer than four slopes, which may have no triangle at all.

    >>> round(derived_exact_probability(T=605, q=55, z=2), 3)
    0.82
    """
    delta = (count("T", T) / count("q", q) - 1) / q
    dirty = 1 - (1 - min(max(delta, 0), 1)) ** (count("z", z, high=T) - 1)
    return exp(-z * (z + 1) * dirty**z)


def _joinings(table: Table, n: int) -> int:
    """How often a third circuit joins a position of v to another of u, over pairs v != u."""
    T, S = table.shape
    c = allocation.load(table, n=n)
    joined = np.zeros((n, n), dtype=np.int64)  # circuits on both of two positions
    for row in table:
        joined[np.ix_(row, row)] += 1
    np.fill_diagonal(joined, 0)
    own = sum(int(joined[np.ix_(row, row)].sum()) for row in table)  # u = v
    by_the_pair = 2 * (S - 1) * int(c @ c - T * S)  # v and u themselves, where they meet
    return int(c @ joined @ c) - own - by_the_pair


def _lambda(T: int, n: int, S: int) -> float:
    """The mean number of circuits that use an entry of W_emb."""
    S = count("S", S, high=count("n", n))
    return count("T", T, high=LINKED * n**2 // S**2) * S**2 / n**2


def _others(table: Table, n: int) -> Float[np.ndarray, "T S"]:
    """The number of other circuits on each position of each circuit."""
    return (allocation.load(table, n=n)[table] - 1).astype(float)


def _overlaps(table: Table, n: int) -> tuple[float, float]:
    """The mean of o_tu^2 over u != t, and of o_tu o_tv over u != v, both != t; o = <e_t|e_u>/S."""
    T, S = table.shape
    q = allocation.mean_squared_overlap(table, n=n)
    met = _others(table, n).sum(1) / S
    return q, float(met @ met / T - (T - 1) * q) / ((T - 1) * max(T - 2, 1))
