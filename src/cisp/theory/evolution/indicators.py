"""One map of the On-indicators, read-out -> S neurons -> next read-out, from a layer to the next.

It serves active and inactive circuits. Chapter 10 derives each part.
"""

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.laws import excess
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Side, State

Laws = list[list[Float[np.ndarray, "r c a s"]]]  # for each m, at a free position and a shared one


def next_state(
    setting: Setting,
    state: State,
    inactive: Side,
    active: Side,
    kinds: Int[np.ndarray, "r z"],
    slices: Int[np.ndarray, " r"],
) -> State:
    """The layer after this one, in which the active circuits have rows of these kinds."""
    crowd, z = setting.crowd, setting.z
    sends = sent_by(setting, inactive)
    law = np.einsum("rma,mrcas->rcs", state.inactive, np.stack([s[0] for s in sends]))
    noise = setting.ingredients.drawn(crowd.empty(z)[:, None] * law, slices)
    to_active = sent_by(setting, active)
    also = (z - 1) * crowd.meets / crowd.S
    weights = np.stack([active.free.mean(0) * (1 - also), active.shared.mean(0) * also])
    sent = np.einsum("rma,mjrcas,jc->rs", state.active, np.array(to_active), weights)
    return State(
        inactive=read(inactive, sends),
        active=read(active, to_active),
        kinds=kinds,
        sent=sent,
        noise=noise,
        total=(noise @ crowd.indicators).sum(1) + crowd.occupied(z) * (sent @ crowd.indicators),
    )


def sent_by(setting: Setting, side: Side) -> Laws:
    """The laws of s at a circuit's positions, for each m, at free and at shared ones."""
    return [[sends(setting, X, seen.shift) for X in seen.X] for seen in side.seen]


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


def read(side: Side, sends: Laws) -> Float[np.ndarray, "r m a"]:
    """The law of the next read-out: the mean of S neurons, independent given a.

    m of them sit on positions that also carry an active circuit.
    """
    r, _, A = side.law.shape
    levels = sends[0][0].shape[3] - 1
    S, size = (A - 1) // levels, 2 ** int(np.ceil(np.log2(A)))
    hat = np.zeros((r, side.taken.shape[2], size // 2 + 1), complex)
    for a, neurons in zip(np.moveaxis(side.law, 1, 0), sends, strict=True):
        free, shared = (
            np.einsum("rcaw,kc->krwa", np.fft.rfft(s, size), c, optimize=True)
            for s, c in zip(neurons, (side.free, side.shared), strict=True)
        )
        for k in range(side.taken.shape[1]):
            for m in range(side.taken.shape[2]):
                whole = free[k] ** (S - m) * shared[k] ** m
                hat[:, m] += side.taken[:, k, m, None] * (whole @ a[..., None])[..., 0]
    found = np.fft.irfft(hat, size)[..., :A].clip(0)
    return found / found.sum((1, 2), keepdims=True)
