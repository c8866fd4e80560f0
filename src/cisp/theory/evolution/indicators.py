"""One map of the On-indicators, read-out -> S neurons -> next read-out, from a layer to the next.

It serves active and inactive circuits. Chapter 11 derives each part.
"""

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.crowd import Array
from cisp.theory.evolution.laws import every_second, excess
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import LEAST, Seen, Side, State

Laws = list[list[Float[np.ndarray, "r c b s"]]]  # by group, at a free position and a shared one


def next_state(
    setting: Setting,
    state: State,
    inactive: Side,
    active: Side,
    kinds: Int[np.ndarray, "r z"],
    over: Int[np.ndarray, "r z"],
    slices: Int[np.ndarray, " r"],
) -> State:
    """The layer after this one, in which the active circuits have rows of these kinds."""
    crowd, z = setting.crowd, setting.z
    to_inactive, to_active = sent_by(setting, inactive), sent_by(setting, active)
    power = _power_of_noise(setting, to_inactive)
    strength = setting.ingredients.drawn(
        crowd.empty(z)[:, None] * _over(inactive, to_inactive, 0),
        slices,
        setting.ingredients.clumps * clumped(setting, state, inactive.read, power),
    )
    rough = strength[:, None] * _rounded(setting, inactive, to_inactive)
    to_inactive = [[_stronger(free, strength), shared] for free, shared in to_inactive]
    noise = crowd.empty(z)[:, None] * _over(inactive, to_inactive, 0)
    once, more = crowd.taken_by(z)
    share = more / np.maximum(once + more, 1e-300)
    alone, joined = (_over(active, to_active, j) for j in (0, 1))
    sent = alone + share[:, None] * (joined - alone)
    on = sent @ crowd.indicators @ (once + more) / (once + more).sum()
    moved = read(inactive, _apart(setting, inactive, to_inactive))
    return State(
        inactive=moved.sum(1),
        moved=every_second(moved),
        active=read(active, _apart(setting, active, to_active)).sum(1),
        kinds=kinds,
        over=over,
        taken=inactive.taken.sum(1),
        sent=sent,
        noise=noise,
        rough=crowd.empty(z) * rough,
        rounded=rough @ (crowd.share @ inactive.free) / crowd.S,
        total=(noise @ crowd.indicators).sum(1) + on * (z * crowd.S - over.sum(1)),
    )


def sent_by(setting: Setting, side: Side) -> Laws:
    """The laws of s at a circuit's positions, at free and at shared ones."""

    def pair(seen: Seen) -> list[Float[np.ndarray, "r c b s"]]:
        free, once, twice = (seen.beside(j) for j in (0, 1, 2))
        shared = once + side.twice[:, None] * (twice - once)
        return [
            sends(setting, X, seen.shift, setting.crowd.values[side.read]) for X in (free, shared)
        ]

    return [pair(seen) for seen in side.seen]


def _over(side: Side, sends: Laws, j: int) -> Float[np.ndarray, "r c s"]:
    """The law of s over the circuits of a side, at their free positions or at shared ones."""
    laws = zip(np.moveaxis(side.law, 1, 0), sends, strict=True)
    return np.sum([np.einsum("ra,rcas->rcs", a[:, side.read], pair[j]) for a, pair in laws], 0)


def _rounded(setting: Setting, side: Side, sends: Laws) -> Float[np.ndarray, "r c"]:
    """How much E s^2 at a free position is too high, as s is shared out between levels."""
    crowd, step = setting.crowd, setting.step
    own = setting.ingredients.own(crowd, crowd.values[side.read])
    found = np.zeros((len(side.law), len(crowd.size)))
    for a, seen, (free, _) in zip(np.moveaxis(side.law, 1, 0), side.seen, sends, strict=True):
        X = seen.beside(0)
        u = own[:, None] + setting.unit * np.arange(X.shape[2]) - seen.shift[:, None, None]
        more = free @ crowd.indicators**2 - X @ np.swapaxes(step(u) ** 2, 1, 2)
        found += np.einsum("rcb,rb->rc", more, a[:, side.read])
    return found


def sends(
    setting: Setting,
    law: Float[np.ndarray, "r c x"],
    shift: Float[np.ndarray, " r"],
    read: Float[np.ndarray, " b"],
) -> Float[np.ndarray, "r c b s"]:
    """The law of s at a position, given the read-out a of its circuit: s = step(u), u as in C10.3.

    A ramp cut at two u is the difference of two E(X - y)+, so the share of each level is a second
    difference of these; u between two levels is shared out so that the mean is right.
    """
    crowd, step, unit = setting.crowd, setting.step, setting.unit
    own = setting.ingredients.own(crowd, read)
    above = _beyond(setting, law, step.knots(crowd.indicators) - own[:, None], shift)
    passed = -np.diff(above, axis=3) * (unit * crowd.levels * step.gain)
    one = np.ones_like(passed[..., :1])
    return (-np.diff(passed, axis=3, prepend=one, append=0 * one)).clip(0)


def _beyond(
    setting: Setting,
    law: Float[np.ndarray, "r c x"],
    u: Float[np.ndarray, "b s"],
    shift: Float[np.ndarray, " r"],
) -> Float[np.ndarray, "r c b s"]:
    """E(X - y)+ at each y that makes u of X less chi M. Many u are the same number."""
    found, of = np.unique(u.round(9), return_inverse=True)
    return excess(law, ((found + shift[:, None]) / setting.unit)[:, None])[..., of.reshape(u.shape)]


def read(side: Side, sends: Laws) -> Float[np.ndarray, "r b g a"]:
    """The law of a read-out and the next, the mean of S neurons, independent given the one before.

    m of them sit on positions that also carry an active circuit.
    """
    from cisp.theory.evolution import loops  # compiled at the first call

    A, G = side.law.shape[2], len(side.seen)
    levels = sends[0][0].shape[3] - 1
    S, size = (A - 1) // levels, 2 ** int(np.ceil(np.log2(A)))
    hat = np.zeros((len(side.law), len(side.read), G, size // 2 + 1), complex)
    most = int(np.flatnonzero(side.taken.max((0, 1)) > LEAST)[-1])
    taken = np.ascontiguousarray(side.taken[..., : most + 1])
    for law, pair in zip(np.moveaxis(side.law[..., side.read], 1, 0), sends, strict=True):
        free, shared = (
            np.einsum("rcbw,kc->rkbw", np.fft.rfft(s, size), c, optimize=True)
            for s, c in zip(pair, (side.free, side.shared), strict=True)
        )
        loops.add_readouts(hat, law, taken, free, shared, S)
    found = np.fft.irfft(hat, size)[..., :A].clip(0)
    return np.asarray(found / found.sum((1, 2, 3), keepdims=True))


def heard(
    setting: Setting,
    law: Float[np.ndarray, "r c x"],
    shift: Float[np.ndarray, " r"],
    read: Float[np.ndarray, " b"],
) -> tuple[Float[np.ndarray, "r c b"], Float[np.ndarray, "r c"]]:
    """Cov(s, X), given a, and Var X."""
    crowd, step, unit = setting.crowd, setting.step, setting.unit
    x = np.arange(law.shape[2])
    tilted = law * (x - (law @ x)[..., None])
    own = setting.ingredients.own(crowd, read)
    above = _beyond(setting, tilted, step.knots(np.array([0.0, 1.0])) - own[:, None], shift)
    return unit * step.gain * (above[..., 0] - above[..., 1]), tilted @ x


def _power_of_noise(setting: Setting, sends: Laws) -> Float[np.ndarray, "r g b"]:
    """E s^2 at a position that no active circuit takes, given its circuit's group and read-out."""
    empty, squares = setting.crowd.empty(setting.z), setting.crowd.indicators**2
    share = empty / empty.sum()
    return np.stack([np.einsum("rcbs,s,c->rb", pair[0], squares, share) for pair in sends], 1)


def clumped(
    setting: Setting,
    state: State,
    read: Int[np.ndarray, " b"],
    power: Float[np.ndarray, "r g b"],
) -> Float[np.ndarray, " r"]:
    """What the variance of the power of noise has beside that of positions on their own.

    A read-out moves the power of its S positions together: S^2 times the variance V of E s^2 given
    a. Positions on their own have S V of that already. Nothing is drawn anew in what the read-outs
    of the layer before foretell, nor in what is linear in a: all a add up to what positions hold.
    """
    moved = state.moved[..., read] / state.moved.sum((1, 2, 3), keepdims=True)
    before = np.maximum(moved.sum((2, 3)), 1e-300)
    a = np.broadcast_to(setting.crowd.values[read], power.shape)

    def covariance(x: Array, y: Array) -> tuple[Array, Array]:
        """Given the read-out before, and in all."""
        of_x, of_y = (np.einsum("rpga,rga->rp", moved, value) for value in (x, y))
        both = np.einsum("rpga,rga,rga->r", moved, x, y)
        return both - (of_x * of_y / before).sum(1), both - of_x.sum(1) * of_y.sum(1)

    (new, whole), (along, _), (spread, _) = (
        covariance(x, y) for x, y in ((power, power), (power, a), (a, a))
    )
    nonlinear = new - along**2 / np.maximum(spread, 1e-9)
    S = setting.crowd.S
    return np.asarray((setting.crowd.T - setting.z) * S * (S * nonlinear - whole))


def _stronger(
    law: Float[np.ndarray, "r c b s"], strength: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "r c b s"]:
    """The law with so many times as many neurons on, as long as these are few."""
    on = 1 - law[..., :1]
    more = 1 - np.maximum(1 - on, 0) ** strength[:, None, None, None]
    return np.concatenate([1 - more, law[..., 1:] * more / np.maximum(on, 1e-300)], -1)


def _apart(setting: Setting, side: Side, sends: Laws) -> Laws:
    """The laws of s with less variance, as if independent: a circuit hears nobody twice.

    Its positions carry different others. So two X have Cov = - Var (c - 1)/(T - 2), and two s, to
    first order, that times (Cov(s, X)/Var X)^2. A part of each law goes to its mean instead.
    """
    crowd, found = setting.crowd, []
    for seen, pair in zip(side.seen, sends, strict=True):
        laws = []
        for j, law in enumerate(pair):
            cov, variance = heard(setting, seen.beside(j), seen.shift, crowd.values[side.read])
            mean = law @ crowd.indicators
            spread = variance[..., None] * (law @ crowd.indicators**2 - mean**2)
            less = setting.ingredients.apart * crowd.apart[:, None] * cov**2
            w = (less / np.maximum(spread, 1e-12)).clip(0, 0.9)[..., None]
            at = np.maximum(1 - np.abs(crowd.levels * (mean[..., None] - crowd.indicators)), 0)
            laws.append((1 - w) * law + w * at)
        found.append(laws)
    return found
