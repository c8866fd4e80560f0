"""What the post predicts: one function for each equation that predicts.

An overlap <e_t|e_u>/S of two circuits is 0 or 1/S. Its mean square over pairs t != u is q. Where a
function takes `q`, leaving it out means the post's estimate 6.3; `cisp.mean_squared_overlap` has
the exact value of a table. `cisp.theory.derived` has what the post drops.
"""

from cisp.arguments import count, number


def mean_squared_overlap(*, T: int, D: int, d: int, S: int) -> float:
    """The post's estimate of q = E_{t != u} (<e_t|e_u>/S)^2: d/D - 1/(S T).

    Equation 6.3; section 6.2 has d/D alone. It assumes an even load of T S d/D circuits on each
    position, and so is too low for any other. Where T S <= D/d no two circuits need to meet: 0.

    >>> round(mean_squared_overlap(T=557, D=1000, d=4, S=6), 6)
    0.003701
    """
    _sizes(T, D, d, S)
    return max(d / D - 1 / (S * T), 0.0)


def mse_inactive_leading(*, D: int, d: int, z: int, a_squared: float | int) -> float:
    """E|delta a|^2 of an inactive circuit to leading order, z (d/D) E_v|a_v|^2 (6.2).

    >>> mse_inactive_leading(D=1000, d=4, z=1, a_squared=1)
    0.004
    """
    return (
        count("z", z) * count("d", d) / count("D", D, low=d) * number("a_squared", a_squared, low=0)
    )


def mse_inactive(
    *, T: int, D: int, d: int, S: int, z: int, a_squared: float | int, q: float | None = None
) -> float:
    """E|delta a|^2 of an inactive circuit, z q E_v|a_v|^2 (6.4).

    It drops the products of two active circuits' overlaps, as if overlaps had mean zero.

    >>> round(mse_inactive(T=557, D=1000, d=4, S=6, z=1, a_squared=1), 5)
    0.0037
    """
    q, z = _q(T, D, d, S, q), count("z", z, high=T)
    return z * q * number("a_squared", a_squared, low=0)


def mse_self_of_layers(*, T: int, q: float, q_before: float, delta_w_a: float | int) -> float:
    """E|self|^2 = (T-1) q^l q^{l-1} E|Delta w_u a_t|^2, the two layers' overlaps apart (6.26).

    >>> round(mse_self_of_layers(T=557, q=0.004, q_before=0.004, delta_w_a=1), 4)
    0.0089
    """
    q, q_before = _share("q", q), _share("q_before", q_before)
    return (count("T", T) - 1) * q * q_before * number("delta_w_a", delta_w_a, low=0)


def mse_self(
    *, T: int, D: int, d: int, S: int, delta_w_a: float | int, q: float | None = None
) -> float:
    """E|self|^2 = T q^2 E|Delta w_u a_t|^2: an active circuit's noise from its own signal (6.27).

    The signal goes into a circuit u that overlaps with t in layer l-1, and out of it if u overlaps
    with t in layer l too. `delta_w_a` is the mean square; the post prints w-bar in its place.

    >>> round(mse_self(T=557, D=1000, d=4, S=6, delta_w_a=1), 4)
    0.0076
    """
    return T * _q(T, D, d, S, q) ** 2 * number("delta_w_a", delta_w_a, low=0)


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

    >>> round(mse_others_delta_w(T=557, D=1000, d=4, S=6, z=2, delta_w_a=1, delta_w_own=1), 4)
    0.0113
    """
    q, z = _q(T, D, d, S, q), count("z", z, high=T)
    number("delta_w_a", delta_w_a, low=0), number("delta_w_own", delta_w_own, low=0)
    return (z - 1) * (T * q**2 * delta_w_a + q * delta_w_own)


def mse_others_w_mean(
    *, T: int, D: int, d: int, S: int, z: int, w_mean_a: float | int, q: float | None = None
) -> float:
    """E|others, w-bar|^2 = (z-1) (T q^2 + q) E|w-bar a_v|^2 (6.32).

    A guess by the post; `derived_others_w_mean` is the derivation.

    >>> round(mse_others_w_mean(T=557, D=1000, d=4, S=6, z=2, w_mean_a=8), 4)
    0.0906
    """
    q, z = _q(T, D, d, S, q), count("z", z, high=T)
    return (z - 1) * (T * q**2 + q) * number("w_mean_a", w_mean_a, low=0)


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
    """E|others|^2 = (z-1) T q^2 E|w_u a_v|^2 + (z-1) q E|w_v a_v|^2, both parts (6.37).

    >>> round(mse_others(T=557, D=1000, d=4, S=6, z=2, w_a=9, w_own=9), 4)
    0.102
    """
    number("w_a", w_a, low=0), number("w_own", w_own, low=0)
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

    >>> sizes = {"T": 557, "D": 1000, "d": 4, "S": 6}
    >>> found = mse_active(**sizes, z=2, layer=3, delta_w_a=1, w_mean_a=8, w_own=9)
    >>> round(found, 3)  # of rotations: `mse_rotation_active`
    0.252
    """
    q, z = _q(T, D, d, S, q), count("z", z, high=T)
    before = count("layer", layer) - 1
    number("delta_w_a", delta_w_a, low=0), number("w_mean_a", w_mean_a, low=0)
    number("w_own", w_own, low=0)
    noise = z * delta_w_a + (z - 1) * w_mean_a
    return before * T * q**2 * noise + layer * (z - 1) * q * w_own


def mse_indicator_active(*, T: int, D: int, d: int, S: int, z: int, layer: int) -> float:
    """E(delta alpha)^2 of an active circuit: 0, as the step removes small errors (6.42).

    >>> mse_indicator_active(T=557, D=1000, d=4, S=6, z=2, layer=3)
    0.0
    """
    _sizes(T, D, d, S)
    count("z", z, high=T), count("layer", layer)
    return 0.0


def mse_indicator_inactive(
    *, T: int, D: int, d: int, S: int, z: int, layer: int, q: float | None = None
) -> float:
    """E(delta alpha)^2 of an inactive circuit, z q, the same in every layer (6.43).

    The indicator of an active circuit is (a)_0 - (a)_1 = 1.5 - 0.5 = 1, so this is 6.4 with
    |a|^2 = 1.

    >>> round(mse_indicator_inactive(T=557, D=1000, d=4, S=6, z=1, layer=2), 4)
    0.0037
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
    """E|delta x|^2 of an inactive circuit, z q, the same in every layer (6.57).

    >>> round(mse_rotation_inactive(T=557, D=1000, d=4, S=6, z=1, layer=2), 4)
    0.0037
    """
    count("layer", layer)
    return mse_inactive(T=T, D=D, d=d, S=S, z=z, a_squared=1, q=q)


def _q(T: int, D: int, d: int, S: int, q: float | None) -> float:
    estimate = mean_squared_overlap(T=T, D=D, d=d, S=S)
    return estimate if q is None else _share("q", q)


def _share(name: str, q: float | int) -> float | int:
    """A mean squared overlap."""
    return number(name, q, low=0, high=1)


def _sizes(T: int, D: int, d: int, S: int) -> None:
    """Raise ValueError unless circuits of S positions fit into D/d of them."""
    count("T", T), count("d", d)
    count("S", S, high=count("D", D, low=d) // d)
