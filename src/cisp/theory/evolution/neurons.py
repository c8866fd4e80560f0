"""The vector neurons of a position, and the mean over the S positions of a circuit."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.crowd import Array, Crowd
from cisp.theory.evolution.laws import coarse, sampled
from cisp.theory.evolution.rows import unlinked
from cisp.theory.evolution.seen import received
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Side

POINTS = 64  # most values of X over which a neuron is averaged
LEAST = 1e-6  # share of the circuits below which a read-out is left out


@dataclass(frozen=True, eq=False)
class Nodes:
    """Read-outs, each in one draw and group, for which neurons are averaged over what they hear.

    row: draw and group, of laws. share: of the draw's circuits. read: the read-out. shift: chi M.
    """

    row: Int[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    read: Float[np.ndarray, " n"]
    shift: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Sent:
    """What the circuits of a position send to its vector neurons.

    x: the part that is certain. own: the variance of the rest that the position's own circuit
    sends, given its read-out. others: E|x_hat|^2 of each other circuit, but for the part `mine`;
    tied: how much it grows with X, times Var X/Q (`tied_to`).
    """

    x: Float[np.ndarray, "n i"]
    own: Float[np.ndarray, " n"]
    others: Float[np.ndarray, " n"]
    mine: Float[np.ndarray, " n"]
    tied: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of x_i, given a: its mean, mean square, how often its neuron is on, and Cov(x_i, X)/sd X."""

    mean: Float[np.ndarray, "n c"]
    square: Float[np.ndarray, "n c"]
    on: Float[np.ndarray, "n c"]
    lean: Float[np.ndarray, "n c"]


@dataclass(frozen=True, eq=False)
class Neurons:
    """E x_i, E x_i^2, how often a vector neuron is on, Cov(x_i, X)/sd X; on in blocks 0 and 1."""

    mean: Float[np.ndarray, "n c i"]
    square: Float[np.ndarray, "n c i"]
    on: Float[np.ndarray, "n c i"]
    lean: Float[np.ndarray, "n c i"]
    on_0: Float[np.ndarray, "n c 1"]
    on_1: Float[np.ndarray, "n c 1"]

    def overall(self) -> Moments:
        """The moments of x_i, over all directions."""
        return Moments(*(m.mean(2) for m in (self.mean, self.square, self.on, self.lean)))

    def less(self, true: Float[np.ndarray, " i"], i: int) -> Moments:
        """The moments of x_i less the true component, in one direction."""
        error = self.square - 2 * true * self.mean + true**2
        return Moments(
            (self.mean - true)[..., i], error[..., i], self.on[..., i], self.lean[..., i]
        )

    def on_by_block(
        self, weights: Float[np.ndarray, " c"], share: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " 4"]:
        """How often a neuron of each block is on, over classes with these weights."""
        by_block = (self.on_0, self.on_1, self.on, self.on)
        return np.array([share @ (on.mean(2) @ weights) for on in by_block])


def mixed(one: Neurons, other: Neurons, share: Float[np.ndarray, " c"]) -> Neurons:
    """The one, and the other for a share of the positions."""
    both = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return Neurons(*(mine + share[:, None] * (its - mine) for mine, its in both))


def nodes_of(crowd: Crowd, side: Side) -> Nodes:
    """The read-outs of a side that occur, on the multiples of 1/(2S)."""
    share = coarse(side.law[..., :-1], crowd.levels // 2)
    share[..., -1] += side.law[..., -1]
    flat = share.reshape(-1, share.shape[2])
    row, k = np.nonzero(flat > LEAST)
    shift = np.stack([one.shift for one in side.seen], 1).ravel()
    return Nodes(row, flat[row, k], k / (2 * crowd.S), shift[row])


def neurons_of(setting: Setting, side: Side, nodes: Nodes, j: int, sent: Sent) -> Neurons:
    """The neurons of a position with j other active circuits, given the read-out of its circuit."""
    from cisp.theory.evolution import loops  # compiled at the first call

    crowd, step, S = setting.crowd, setting.step, setting.crowd.S
    law, X = _few_points(np.stack([one.beside(j) for one in side.seen], 1), crowd.levels)
    heard = np.maximum(X - j * S, 0)
    mean = law @ heard
    variance = np.maximum(law @ heard**2 - mean**2, 1e-12)
    about = X - (law @ X)[..., None]
    tilted = law * about / np.sqrt(np.maximum((law * about**2).sum(-1), 1e-12))[..., None]
    mean, variance = mean[nodes.row], variance[nodes.row]
    u = received(
        crowd, setting.ingredients.own(crowd, nodes.read)[:, None], X, nodes.shift[:, None]
    )
    slope = np.minimum(sent.tied[:, None] * unlinked(setting) / variance, 1 / (mean + 1e-12))
    mine = setting.ingredients.sent_back * sent.mine[:, None]
    rest = np.maximum(sent.others[:, None] - mine, 0)
    each = (crowd.others - j) / 2
    least = each * (mine + rest * (1 - slope * mean)) + sent.own[:, None]
    found = loops.neurons(
        law, tilted, heard, nodes.row, u, step(u), least, each * rest * slope, sent.x
    )
    low, high = step.knots(crowd.indicators)[[0, -1]]
    above = [
        np.einsum("ncy,ny->nc", law[nodes.row], u > knot + 1e-9)[..., None] for knot in (low, high)
    ]
    return Neurons(*found, *above)


def _few_points(
    law: Float[np.ndarray, "r g c x"], levels: int
) -> tuple[Float[np.ndarray, "rg c y"], Float[np.ndarray, " y"]]:
    """The law as far as it reaches, on at most so many POINTS if steps of 1 allow, and these."""
    law = law.reshape(-1, *law.shape[2:])
    reach = int(np.flatnonzero(law.max((0, 1)) > 1e-9)[-1])
    by = int(np.clip(2 ** np.ceil(np.log2((reach + 1) / POINTS)), 1, levels))
    few = sampled(law[..., : reach + 1], by)
    return few, (np.arange(few.shape[2]) - 1) * by / levels


def square_of_mean(
    setting: Setting,
    side: Side,
    nodes: Nodes,
    moments: tuple[Moments, Moments],
    common: Float[np.ndarray, " n"],
    circuits: int,
) -> Float[np.ndarray, " n"]:
    """E|mean of S neurons|^2, two components, from the moments at free and at shared positions.

    m of the positions are shared with an active circuit, of so many circuits; where one takes two,
    they hear the same unit vector. What moves all neurons alike that are on has the variance
    `common`; what they hear of others is a little opposed (`Crowd.apart`).
    """
    S = setting.crowd.S
    k = np.sqrt(setting.ingredients.apart * setting.crowd.apart / max(S - 1, 1))
    (mean, square, on, lean), (mean_1, square_1, on_1, lean_1) = (
        [x @ classes.T for x in (one.mean, one.square, one.on, k * one.lean)]
        for classes, one in zip((side.free, side.shared), moments, strict=True)
    )
    twice = circuits * setting.crowd.meets * (setting.crowd.alike - 1)  # E k(k - 1) over circuits
    taken = side.taken[nodes.row // len(side.seen)]
    total = twice * (taken.sum(2) * on_1**2).sum(1) / S**2
    for m, share in enumerate(np.moveaxis(taken, 2, 0)):

        def pairs(f: Array, g: Array, m: int = m) -> Array:
            return ((S - m) * f + m * g) ** 2 - (S - m) * f**2 - m * g**2

        each = (
            (S - m) * square
            + m * square_1
            + pairs(mean, mean_1)
            - pairs(lean, lean_1)
            + common[:, None] * pairs(on, on_1)
        )
        total += (share * each).sum(1) * 2 / S**2
    return total


def tied_to(crowd: Crowd, law: Float[np.ndarray, "r a"]) -> Float[np.ndarray, " r"]:
    """How much the power that a position hears grows with X, times Var X/Q.

    It is in proportion to the sum of a over the circuits that a position hears, each heard once:
    Cov with X is Q S^2 Var a for each, as X counts a link once and links drawn without replacement.
    """
    mean = law @ crowd.values
    variance = law @ crowd.values**2 - mean**2
    return np.asarray(crowd.S * variance / np.maximum(mean, 1e-300) / (1 - crowd.S / crowd.n))
