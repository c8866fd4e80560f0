"""What the post predicts, and what it should have: one function for each predicting equation.

An overlap <e_t|e_u>/S of two circuits is 0 or 1/S. Its mean square over pairs t != u is q. Where a
function takes `q`, leaving it out means the post's estimate 6.3; `cisp.mean_squared_overlap` has
the exact value of a table. The `derived_` functions take the table and keep what the post drops.
"""

from math import expm1

import numpy as np
from jaxtyping import Float

from cisp import allocation
from cisp.allocation import Table
from cisp.arguments import count


def mean_squared_overlap(*, T: int, D: int, d: int, S: int) -> float:
    """The post's estimate of q = E_{t != u} (<e_t|e_u>/S)^2: d/D - 1/(S T).

    Equation 6.3; section 6.2 has d/D alone. It assumes an even load of T S d/D circuits on each
    position, and so is too low for any other. Where T S <= D/d no two circuits need to meet: 0.

    >>> round(mean_squared_overlap(T=557, D=1000, d=4, S=6), 6)
    0.003701
    """
    count("T", T), count("D", D), count("d", d), count("S", S)
    return max(d / D - 1 / (S * T), 0.0)


def mse_inactive_leading(*, D: int, d: int, z: int, a_squared: float | int) -> float:
    """E|delta a|^2 of an inactive circuit to leading order, z (d/D) E_v|a_v|^2 (6.2)."""
    return count("z", z) * count("d", d) / count("D", D) * a_squared


def mse_inactive(
    *, T: int, D: int, d: int, S: int, z: int, a_squared: float | int, q: float | None = None
) -> float:
    """E|delta a|^2 of an inactive circuit, z q E_v|a_v|^2 (6.4).

    It drops the products of two active circuits' overlaps, as if overlaps had mean zero.
    """
    return count("z", z) * _q(T, D, d, S, q) * a_squared


def mse_self_of_layers(*, T: int, q: float, q_before: float, delta_w_a: float | int) -> float:
    """E|self|^2 = (T-1) q^l q^{l-1} E|Delta w_u a_t|^2, the two layers' overlaps apart (6.26)."""
    return (count("T", T) - 1) * q * q_before * delta_w_a


def mse_self(
    *, T: int, D: int, d: int, S: int, delta_w_a: float | int, q: float | None = None
) -> float:
    """E|self|^2 = T q^2 E|Delta w_u a_t|^2: an active circuit's noise from its own signal (6.27).

    The signal goes into a circuit u that overlaps with t in layer l-1, and out of it if u overlaps
    with t in layer l too. `delta_w_a` is the mean square; the post prints w-bar in its place.
    """
    return T * _q(T, D, d, S, q) ** 2 * delta_w_a


def mse_others_delta_w(
    *,
    T: int,
    D: int,
    d: int,
    S: int,
    z: int,
    delta_w_a: float | int,
    delta_w_own: float | int,
    q: float | None = None,
) -> float:
    """E|others, Delta w|^2: noise that the other z-1 active circuits make through Delta w (6.31).

    (z-1) T q^2 E|Delta w_u a_v|^2 by way of third circuits u, (z-1) q E|Delta w_v a_v|^2 directly.
    """
    q = _q(T, D, d, S, q)
    return (count("z", z) - 1) * (T * q**2 * delta_w_a + q * delta_w_own)


def mse_others_w_mean(
    *, T: int, D: int, d: int, S: int, z: int, w_mean_a: float | int, q: float | None = None
) -> float:
    """E|others, w-bar|^2 = (z-1) (T q^2 + q) E|w-bar a_v|^2 (6.32).

    A guess by the post; `derived_others_w_mean` is the derivation.
    """
    q = _q(T, D, d, S, q)
    return (count("z", z) - 1) * (T * q**2 + q) * w_mean_a


def mse_others(
    *,
    T: int,
    D: int,
    d: int,
    S: int,
    z: int,
    w_a: float | int,
    w_own: float | int,
    q: float | None = None,
) -> float:
    """E|others|^2 = (z-1) T q^2 E|w_u a_v|^2 + (z-1) q E|w_v a_v|^2, both parts (6.37)."""
    return mse_others_delta_w(T=T, D=D, d=d, S=S, z=z, delta_w_a=w_a, delta_w_own=w_own, q=q)


def mse_active(
    *,
    T: int,
    D: int,
    d: int,
    S: int,
    z: int,
    layer: int,
    delta_w_a: float | int,
    w_mean_a: float | int,
    w_own: float | int,
    q: float | None = None,
) -> float:
    """E|delta a^l|^2 of an active circuit: self, others and previous, added up (6.41).

    (l-1) T q^2 (z E|Delta w_u a_v|^2 + (z-1) E|w-bar a_v|^2) + l (z-1) q E|w_v a_v|^2. Layer 1 has
    the overlaps alone, each layer after it adds all three and hands on what came before (6.40).
    """
    q, z, before = _q(T, D, d, S, q), count("z", z), count("layer", layer) - 1
    noise = z * delta_w_a + (z - 1) * w_mean_a
    return before * T * q**2 * noise + layer * (z - 1) * q * w_own


def mse_indicator_active(*, T: int, D: int, d: int, S: int, z: int, layer: int) -> float:
    """E(delta alpha)^2 of an active circuit: 0, as the step removes small errors (6.42)."""
    count("z", z), count("layer", layer), _q(T, D, d, S, None)
    return 0.0


def mse_indicator_inactive(
    *, T: int, D: int, d: int, S: int, z: int, layer: int, q: float | None = None
) -> float:
    """E(delta alpha)^2 of an inactive circuit, z q, the same in every layer (6.43).

    The indicator of an active circuit is (a)_0 - (a)_1 = 1.5 - 0.5 = 1, so this is 6.4 with
    |a|^2 = 1.
    """
    count("layer", layer)
    return mse_inactive(T=T, D=D, d=d, S=S, z=z, a_squared=1, q=q)


def mse_rotation_active(
    *, T: int, D: int, d: int, S: int, z: int, layer: int, q: float | None = None
) -> float:
    """E|delta x|^2 of an active circuit, (l-1) T q^2 (z + 8(z-1)) + 9 l q (z-1) (6.55).

    6.41 in the last two components, where |Delta w_u a_v|^2 = 1, |w-bar a_v|^2 = 8 and
    |w_v a_v|^2 = 9 on average (6.48-6.54).

    >>> round(mse_rotation_active(T=557, D=1000, d=4, S=6, z=2, layer=3), 3)
    0.252
    """
    return mse_active(T=T, D=D, d=d, S=S, z=z, layer=layer, delta_w_a=1, w_mean_a=8, w_own=9, q=q)


def mse_rotation_inactive(
    *, T: int, D: int, d: int, S: int, z: int, layer: int, q: float | None = None
) -> float:
    """E|delta x|^2 of an inactive circuit, z q, the same in every layer (6.57)."""
    count("layer", layer)
    return mse_inactive(T=T, D=D, d=d, S=S, z=z, a_squared=1, q=q)


def derived_first_layer(table: Table, *, n: int, z: int) -> dict[tuple[str, str], float]:
    """The exact errors of conditional rotations in layer 1, by quantity and circuits.

    In place of 6.43, 6.57 and 6.55 at l = 1, for tables whose rows share at most one position and
    vectors in random directions. Let J be the active circuits that meet an inactive one, and K the
    positions of it that they take: K < J where two take the same one. K positions read as on, so
    E(delta alpha)^2 = E K^2/S^2. With k active circuits on it, a position's vector neurons hold
    the sum of their vectors and 2k - 1, of which the read-out takes 1 away:
    E|delta x|^2 = (E J + 8 E(J-K)^2)/S^2. An active circuit gets w_v a_v = (2, 2) + r_v x_v from
    each v that it meets: E|delta x|^2 = 9 (z-1) q + 8 (z-1)(z-2) E[o_tu o_tv], o the overlaps.

    Raises ValueError if two rows share more. At z = T nothing is inactive, and its errors are nan.
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


def derived_rotation_active(table: Table, *, n: int, z: int, layer: int) -> float:
    """E|delta x|^2 of an active circuit with every term of 6.41 right, but no ReLU (C9.2).

    Layer 1 is exact; each later layer adds self, others and previous. Every layer turns what came
    before by the circuit's angle, which makes others uncorrelated with it. Not so self, which is
    turned along: in adjacent layers it goes by the same u through one shared overlap, and with the
    mean overlap o on either side, E<self^l, self^{l-1}> = o^2 [(T-1) q - (T-2) E(o_tu o_tv)].
    What is missing: neurons that should be off, and the ReLUs of active neurons, which cut off
    large negative noise, the more of it the larger z.
    """
    T, S = table.shape
    q, product = _overlaps(table, n)
    each = z * (T - 1) * q**2 + (z - 1) * q + derived_others_w_mean(table, n=n, z=z, w_mean_a=8)
    adjacent = (S * q) ** 2 * ((T - 1) * q - (T - 2) * product)
    first = derived_first_layer(table, n=n, z=z)["rotation", "active"]
    layers = count("layer", layer) - 1  # beyond the first
    return first + layers * each + 2 * max(layers - 1, 0) * adjacent


def derived_others_w_mean(table: Table, *, n: int, z: int, w_mean_a: float | int) -> float:
    """E|others, w-bar|^2, averaged over dealings of the table: in place of the guess 6.32.

    Between two circuits, S^2 entries of W_emb count, each used with probability 1 - e^-m, where
    m = S^2 T q^2 is the mean number of circuits on an entry. Used or not is a variance of
    (e^m - 1)/S^2 for what circuit t reads from v; the overlap in layer l adds q, that in layer l-1
    cancels (6.30). Circuits on crowded positions have more used entries, m (1 + x_t + x_v), where
    x has the variance V of the number of others that a circuit meets, relative to its mean. This
    part, and the mean of what is read, -o with o = S q, is common to the z-1 active circuits.

        (z-1) [q + (e^m - 1)/S^2 + 2 m (m+o) V] + (z-1)(z-2) [o^2 + (m+o)^2 V],  times |w-bar a|^2
    """
    T, S = table.shape
    q, _ = _overlaps(table, n)
    met = _others(table, n).sum(1)
    m, o, V = S**2 * T * q**2, S * q, met.var() / met.mean() ** 2 if met.any() else 0.0
    alone = q + expm1(m) / S**2 + 2 * m * (m + o) * V
    common = o**2 + (m + o) ** 2 * V
    return (count("z", z, high=T) - 1) * (alone + (z - 2) * common) * w_mean_a


def _q(T: int, D: int, d: int, S: int, q: float | None) -> float:
    estimate = mean_squared_overlap(T=T, D=D, d=d, S=S)
    if q is not None and not 0 <= q <= 1:
        raise ValueError(f"q={q} is not a mean squared overlap; it must be from 0 to 1")
    return estimate if q is None else q


def _others(table: Table, n: int) -> Float[np.ndarray, "T S"]:
    """The number of other circuits on each position of each circuit."""
    return (allocation.load(table, n=n)[table] - 1).astype(float)


def _overlaps(table: Table, n: int) -> tuple[float, float]:
    """The mean of o_tu^2 over u != t, and of o_tu o_tv over u != v, both != t; o = <e_t|e_u>/S."""
    T, S = table.shape
    q = allocation.mean_squared_overlap(table, n=n)
    met = _others(table, n).sum(1) / S
    return q, float(met @ met / T - (T - 1) * q) / ((T - 1) * max(T - 2, 1))
