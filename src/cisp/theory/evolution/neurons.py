"""The vector neurons of a position, and the mean over the S positions of a circuit."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from cisp.theory.evolution.crowd import Array, Crowd
from cisp.theory.evolution.laws import coarse
from cisp.theory.evolution.seen import received, unlinked
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Seen, Side

POINTS = 96  # most values of X over which a neuron is averaged


@dataclass(frozen=True, eq=False)
class Sent:
    """What the circuits of a position send to its vector neurons.

    x: the part that is certain. own: the variance of the rest that the position's own circuit
    sends, given its read-out. others: E|x_hat|^2 of each other circuit, in proportion to X but for
    the part `mine`.
    """

    x: Float[np.ndarray, "r i"]
    own: Float[np.ndarray, "r a"]
    others: Float[np.ndarray, " r"]
    mine: Float[np.ndarray, " r"]
    tied: Float[np.ndarray, " r"]
    left: Float[np.ndarray, " r"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of x_i, given a: its mean, mean square, how often its neuron is on, and Cov(x_i, X)/sd X."""

    mean: Float[np.ndarray, "r c a"]
    square: Float[np.ndarray, "r c a"]
    on: Float[np.ndarray, "r c a"]
    lean: Float[np.ndarray, "r c a"]


@dataclass(frozen=True, eq=False)
class Neurons:
    """E x_i, E x_i^2, how often a vector neuron is on, Cov(x_i, X)/sd X; on in blocks 0 and 1."""

    mean: Float[np.ndarray, "r c a i"]
    square: Float[np.ndarray, "r c a i"]
    on: Float[np.ndarray, "r c a i"]
    lean: Float[np.ndarray, "r c a i"]
    on_0: Float[np.ndarray, "r c a 1"]
    on_1: Float[np.ndarray, "r c a 1"]

    def overall(self) -> Moments:
        """The moments of x_i, over all directions."""
        return Moments(*(m.mean(3) for m in (self.mean, self.square, self.on, self.lean)))

    def less(self, true: Float[np.ndarray, " i"], i: int) -> Moments:
        """The moments of x_i less the true component, in one direction."""
        error = self.square - 2 * true * self.mean + true**2
        return Moments(
            (self.mean - true)[..., i], error[..., i], self.on[..., i], self.lean[..., i]
        )

    def on_by_block(
        self, weights: Float[np.ndarray, " c"], share: Float[np.ndarray, "r a"]
    ) -> Float[np.ndarray, " 4"]:
        """How often a neuron of each block is on, over classes with these weights."""
        by_block = (self.on_0, self.on_1, self.on, self.on)
        found = (np.tensordot(weights, on.mean(3), (0, 1)) for on in by_block)
        return np.array([(share * on).sum(1).mean() for on in found])


def mixed(one: Neurons, other: Neurons, share: Float[np.ndarray, " c"]) -> Neurons:
    """The one, and the other for a share of the positions."""
    both = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return Neurons(*(mine + share[:, None, None] * (its - mine) for mine, its in both))


def neurons_of(setting: Setting, seen: Seen, j: int, sent: Sent) -> Neurons:
    """The neurons of a position with j other active circuits, given the read-out of its circuit."""
    crowd, step, S = setting.crowd, setting.step, setting.crowd.S
    law, X = _few_points(seen.X[j], crowd.levels)
    own = setting.ingredients.own(crowd, read_grid(crowd))
    u = received(crowd, own[:, None], X, seen.shift[:, None, None, None])
    heard = np.maximum(X - j * S, 0)
    mean_heard = law @ heard
    variance = law @ heard**2 - mean_heard**2
    slope = np.minimum(
        sent.tied[:, None] * unlinked(setting) / np.maximum(variance, 1e-12),
        1 / np.maximum(mean_heard, 1e-12),
    )
    heard = 1 + slope[..., None] * (heard - mean_heard[..., None])
    left = sent.left[:, None, None, None]
    mine = setting.ingredients.sent_back * sent.mine[:, None, None, None]
    rest = np.maximum(sent.others[:, None, None, None] - mine, 0)
    brought = (crowd.others[:, None, None] - j) * (mine + rest * left * heard[:, :, None]) / 2
    sd, s = np.sqrt(np.maximum(brought + sent.own[:, None, :, None], 1e-12)), step(u)
    found = []
    for middle in np.moveaxis(sent.x, 1, 0)[..., None, None, None] + 2 * u - 1:
        on = ndtr(middle / sd)
        first = middle * on + sd * np.exp(-((middle / sd) ** 2) / 2) / np.sqrt(2 * np.pi)
        second = middle * first + sd**2 * on
        found.append([first - s, second - 2 * s * first + s**2, on])
    low, high = step.knots(crowd.indicators)[[0, -1]]
    above = [(u > knot + 1e-9)[..., None] + 0.0 for knot in (low, high)]
    wanted = [np.stack(values, -1) for values in zip(*found, strict=True)]
    about = X - (law @ X)[..., None]
    tilted = law * about / np.sqrt(np.maximum((law * about**2).sum(-1), 1e-12))[..., None]

    def mean(weights: Array, value: Array) -> Array:
        full = value + 0 * law[:, :, None, :1, None]
        return np.asarray(np.einsum("rcx,rcaxi->rcai", weights, full))

    lean = mean(tilted, wanted[0])
    first, square, on, on_0, on_1 = (mean(law, value) for value in wanted + above)
    return Neurons(first, square, on, lean, on_0, on_1)


def _few_points(
    law: Float[np.ndarray, "r c x"], levels: int
) -> tuple[Float[np.ndarray, "r c y"], Float[np.ndarray, " y"]]:
    """The law as far as it reaches, on at most so many POINTS if steps of 1 allow, and these."""
    reach = int(np.flatnonzero(law.max((0, 1)) > 1e-9)[-1])
    by = int(np.clip(2 ** np.ceil(np.log2((reach + 1) / POINTS)), 1, levels))
    few = coarse(law, by)[..., : reach // by + 2]
    return few, np.arange(few.shape[2]) * by / levels


def square_of_mean(
    setting: Setting, side: Side, free: Moments, shared: Moments, own: Float[np.ndarray, "r a"]
) -> Float[np.ndarray, "r a"]:
    """E|mean of S neurons|^2, two components, from the moments of each.

    m of the positions are shared with an active circuit. The circuit's own noise moves all its
    neurons that are on; what they hear of others is a little opposed (`Crowd.apart`).
    """
    S, own = setting.crowd.S, setting.ingredients.common * own
    k = np.sqrt(setting.ingredients.apart * setting.crowd.apart / max(S - 1, 1))[:, None]
    (mean, square, on, lean), (mean_1, square_1, on_1, lean_1) = (
        [_over(classes, x) for x in (one.mean, one.square, one.on, k * one.lean)]
        for classes, one in ((side.free, free), (side.shared, shared))
    )
    total = np.zeros_like(own)
    for m, share in enumerate(np.moveaxis(side.taken, 2, 0)):

        def pairs(f: Array, g: Array, m: int = m) -> Array:
            return ((S - m) * f + m * g) ** 2 - (S - m) * f**2 - m * g**2

        each = (
            (S - m) * square
            + m * square_1
            + pairs(mean, mean_1)
            - pairs(lean, lean_1)
            + own[:, None] * pairs(on, on_1)
        )
        total += (share[..., None] * each).mean(1) * 2 / S**2
    return total


def _over(classes: Float[np.ndarray, "k c"], x: Float[np.ndarray, "r c a"]) -> Array:
    """The mean over a row's positions, for each kind of row."""
    return np.einsum("kc,rca->rka", classes, x)


def read_grid(crowd: Crowd) -> Float[np.ndarray, " b"]:
    """The read-outs at which neurons are averaged, the multiples of 1/(2S)."""
    return np.arange(2 * crowd.S + 1) / (2 * crowd.S)
