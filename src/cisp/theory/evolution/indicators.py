"""One map of the On-indicators, read-out -> S neurons -> next read-out, from a layer to the next.

It serves active and inactive circuits. Chapter 10 derives each part.
"""

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.crowd import none
from cisp.theory.evolution.laws import excess
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Side, State

Laws = list[list[Float[np.ndarray, "r c a s"]]]  # by group, at a free position and a shared one


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
    law = _over_law(inactive, to_inactive, 0)
    cov, vx = heard(setting, inactive.seen[0].X[0], inactive.seen[0].shift)
    known = np.einsum("ra,rca->rc", state.inactive.sum(1), cov)
    var = law @ crowd.indicators**2 - (law @ crowd.indicators) ** 2
    R2 = (known**2 / np.maximum(vx[..., 0] * var, 1e-12)).clip(0, 1)
    f = setting.ingredients.drawn(crowd.empty(z)[:, None] * law, slices, R2)
    to_inactive = [[stronger(one, f) for one in pair] for pair in to_inactive]
    noise = crowd.empty(z)[:, None] * _over_law(inactive, to_inactive, 0)
    taken = crowd.taken_by(z)
    weights = taken / np.maximum(taken.sum(0), 1e-300)
    sent = sum(
        w[:, None] * _over_law(active, to_active, j) for j, w in enumerate(weights)
    )
    on = sent @ crowd.indicators @ taken.sum(0) / taken.sum()
    return State(
        inactive=read(inactive, spread_out(setting, inactive, to_inactive)),
        active=read(active, spread_out(setting, active, to_active)),
        kinds=kinds,
        over=over,
        taken=inactive.taken.mean(1),
        sent=sent,
        noise=noise,
        total=(noise @ crowd.indicators).sum(1) + on * (z * crowd.S - over.sum(1)),
    )


def sent_by(setting: Setting, side: Side) -> Laws:
    """The laws of s at a circuit's positions, at free and at shared ones."""
    found = []
    for seen in side.seen:
        free, shared = seen.X[:2]
        if len(seen.X) > 2:
            shared = shared + side.twice[:, None] * (seen.X[2] - shared)
        pair = [sends(setting, X, seen.shift) for X in (free, shared)]
        found.append(pair)
    return found


def _over_law(side: Side, sends: Laws, j: int) -> Float[np.ndarray, "r c s"]:
    """The law of s on positions of the circuits of a side."""
    return sum(np.einsum("ra,rcas->rcs", side.law[:, g], pair[j]) for g, pair in enumerate(sends))


def sends(
    setting: Setting, law: Float[np.ndarray, "r c x"], shift: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "r c a s"]:
    """The law of s at a position, given the read-out a of its circuit: s = step(u), u as in C10.3.

    A ramp cut at two u is the difference of two E(X - y)+, so the share of each level is a second
    difference of these; u between two levels is shared out so that the mean is right.
    """
    crowd, step, unit = setting.crowd, setting.step, setting.unit
    own = setting.ingredients.own(crowd, crowd.values)
    y = (step.knots(crowd.indicators) - own[:, None] + shift[:, None, None]) / unit
    above = excess(law, y.reshape(len(y), 1, -1)).reshape(*law.shape[:2], *y.shape[1:])
    passed = -np.diff(above, axis=3) * (unit * crowd.levels * step.gain)
    one = np.ones_like(passed[..., :1])
    return (-np.diff(passed, axis=3, prepend=one, append=0 * one)).clip(0)


def read(side: Side, sends: Laws) -> Float[np.ndarray, "r a"]:
    """The law of the next read-out: the mean of S neurons, independent given a.

    m of them sit on positions that also carry an active circuit.
    """
    A, G = side.law.shape[2], side.law.shape[1] if len(side.seen) > 1 else 1
    levels = sends[0][0].shape[3] - 1
    S, size = (A - 1) // levels, 2 ** int(np.ceil(np.log2(A)))
    hat = np.zeros((len(side.law), G, size // 2 + 1), complex)
    for a, pair in zip(np.moveaxis(side.law, 1, 0), sends, strict=True):
        free, shared = (
            np.einsum("rcaw,kc->krwa", np.fft.rfft(s, size), c, optimize=True)
            for s, c in zip(pair, (side.free, side.shared), strict=True)
        )
        for k in range(side.taken.shape[1]):
            powers = np.multiply.accumulate(np.stack([np.ones_like(free[k])] + [free[k]] * S))
            taken = a[:, :, None]
            for m in range(side.taken.shape[2]):
                whole = (powers[S - m] @ taken)[..., 0] if m == 0 else ((powers[S - m] * more) @ taken)[..., 0]
                hat[:, min(m, G - 1)] += side.taken[:, k, m, None] * whole
                more = shared[k] if m == 0 else more * shared[k]
    found = np.fft.irfft(hat, size)[..., :A].clip(0)
    return found / found.sum((1, 2), keepdims=True)


def heard(setting, law, shift):
    """Cov(s, X) and Var X."""
    crowd, step, unit = setting.crowd, setting.step, setting.unit
    x = np.arange(law.shape[2])
    mean = law @ x
    tilted = law * (x - mean[..., None])
    own = setting.ingredients.own(crowd, crowd.values)
    y = (step.knots(np.array([0.0, 1.0])) - own[:, None] + shift[:, None, None]) / unit
    above = excess(tilted, y.reshape(len(y), 1, -1)).reshape(*law.shape[:2], *y.shape[1:])
    return unit * step.gain * (above[..., 0] - above[..., 1]), (tilted @ x)[..., None]


def spread_out(setting, side, sends):
    crowd, out, I = setting.crowd, [], setting.crowd.indicators
    for seen, pair in zip(side.seen, sends, strict=True):
        new = []
        for X, law in zip(seen.X[:2], pair, strict=True):
            cov, vx = heard(setting, X, seen.shift)
            mean = law @ I
            var = law @ I**2 - mean**2
            w = (crowd.apart[:, None] * cov**2 / np.maximum(vx * var, 1e-12)).clip(0, 0.9)[..., None]
            at = mean * crowd.levels
            low = np.floor(at).clip(0, crowd.levels - 1).astype(int)
            point = np.zeros_like(law)
            np.put_along_axis(point, low[..., None], (1 - (at - low))[..., None], 3)
            np.put_along_axis(point, low[..., None] + 1, (at - low)[..., None], 3)
            new.append((1 - w) * law + w * point)
        out.append(new)
    return out


def stronger(law, f):
    on = 1 - law[..., :1]
    more = 1 - (1 - on) ** f[:, None, None, None]
    return np.concatenate([1 - more, law[..., 1:] * more / np.maximum(on, 1e-300)], -1)
