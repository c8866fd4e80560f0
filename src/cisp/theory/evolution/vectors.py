"""The squared errors of rotating vectors, beside the law of the On-indicators (chapter 11).

A position's two vector neurons are ReLU(2u - 1 + V_i). V adds up the vectors that its circuits
send, each turned by an angle of its own: Gaussian, but for the unit vector of an active circuit.
An inactive circuit sends one of E|x_hat|^2 on average, in proportion to its read-out, for a neuron
that is off sends neither; so the others on a position bring a variance in proportion to X. What a
neuron holds beyond s is its part of the vector, x_i = ReLU(2u - 1 + V_i) - s.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.crowd import Crowd
from cisp.theory.evolution.neurons import (
    Sent,
    mixed,
    neurons_of,
    nodes_of,
    square_of_mean,
    tied_to,
)
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Side

ANGLES = 4  # directions of an active vector
COMPONENTS = np.cos((np.arange(ANGLES) + 0.5) * np.pi / ANGLES)


@dataclass(frozen=True, eq=False)
class Vectors:
    """inactive: E|x_hat|^2. active: E|delta x|^2, of which <x_hat, x> - 1 = shrunk explains part.

    sent: E|x|^2 of one neuron pair of an active circuit. fractions: of neurons on, by block.
    """

    inactive: Float[np.ndarray, " r"]
    active: Float[np.ndarray, " r"]
    shrunk: Float[np.ndarray, " r"]
    sent: Float[np.ndarray, " r"]
    fractions: tuple[float, ...]

    def errors(self) -> dict[tuple[str, str], Float[np.ndarray, " r"]]:
        """The mean squared errors of the vectors, for each draw."""
        return {("rotation", "inactive"): self.inactive, ("rotation", "active"): self.active}


def first_vectors(setting: Setting, draws: int) -> Vectors:
    """Layer 1, exact (C7.3, C9.1)."""
    crowd, z = setting.crowd, setting.z
    return Vectors(
        inactive=np.full(draws, setting.first.inactive),
        active=np.full(draws, setting.first.active),
        shrunk=np.zeros(draws),
        sent=np.ones(draws),
        fractions=(crowd.occupied(z) / crowd.n,) * 4,
    )


def next_vectors(setting: Setting, before: Vectors, inactive: Side, active: Side) -> Vectors:
    """The layer after."""
    crowd, tied = setting.crowd, tied_to(setting.crowd, inactive.law.sum(1))
    empty, occupied = crowd.empty(setting.z).sum(), crowd.occupied(setting.z)
    x_inactive, on_noise = _inactive(setting, before, inactive, tied)
    x_active, shrunk, sent, on_active = _active(setting, before, active, tied)
    return Vectors(
        inactive=x_inactive,
        active=x_active,
        shrunk=setting.ingredients.shrinking * shrunk,
        sent=sent,
        fractions=tuple((empty * on_noise + occupied * on_active) / crowd.n),
    )


def _inactive(
    setting: Setting, before: Vectors, side: Side, tied: Float[np.ndarray, " r"]
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " 4"]]:
    """E|x_hat|^2 of an inactive circuit, and how often a neuron of no active circuit is on."""
    crowd, nodes = setting.crowd, nodes_of(setting.crowd, side)
    draw = nodes.row // len(side.seen)
    mean = np.maximum(side.law.sum(1) @ crowd.values, 1e-300)
    own = (before.inactive / mean / 2)[draw] * nodes.read
    # the more positions active circuits take of one's own, the fewer of theirs are left to hear
    shift = _by_draw(nodes.shift * nodes.share, draw, len(mean))
    others = before.inactive[draw] * nodes.shift / np.maximum(shift[draw], 1e-300)
    silent, rest = np.zeros((len(draw), 1)), (others, 0 * others, tied[draw])
    x = (1 + before.shrunk)[draw, None] * COMPONENTS
    noise = np.maximum(before.active - before.shrunk**2, 0)[draw] / 2
    alone = neurons_of(setting, side, nodes, 0, Sent(silent, own, *rest))
    joined = neurons_of(setting, side, nodes, 1, Sent(x, own + noise, *rest))
    if setting.z > 1:
        more = Sent(x, own + 2 * noise + 0.5, *rest)
        joined = mixed(joined, neurons_of(setting, side, nodes, 2, more), side.twice)
    common = setting.ingredients.common * own - balanced(setting, before)[draw]
    common += on_both(crowd) * others
    both = (alone.overall(), joined.overall())
    squares = square_of_mean(setting, side, nodes, both, common, setting.z)
    empty, share = crowd.empty(setting.z), nodes.share / len(mean)
    found = _by_draw(nodes.share * squares, draw, len(mean))
    return found, alone.on_by_block(empty / empty.sum(), share)


def _active(
    setting: Setting, before: Vectors, side: Side, tied: Float[np.ndarray, " r"]
) -> tuple[
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " 4"],
]:
    """Of an active circuit: E|delta x|^2, shrunk, sent, and how often its neurons are on."""
    crowd, true, nodes = setting.crowd, COMPONENTS, nodes_of(setting.crowd, side)
    draw, draws = nodes.row, len(side.law)
    own = (np.maximum(before.active - before.shrunk**2, 0) / 2)[draw]
    x = (1 + before.shrunk)[draw, None] * true
    mine = crowd.meets * before.sent / crowd.S**2  # its own vector, on average, from each (6.26)
    rest = before.inactive[draw], mine[draw], tied[draw]
    alone = joined = neurons_of(setting, side, nodes, 0, Sent(x, own, *rest))
    if setting.z > 1:
        joined = neurons_of(setting, side, nodes, 1, Sent(x, own + 0.5, *rest))
    if setting.z > 2:
        more = Sent(x, own + 1, *rest)
        joined = mixed(joined, neurons_of(setting, side, nodes, 2, more), side.twice)
    m = (side.taken.sum(1) @ np.arange(side.taken.shape[2]) / crowd.S).mean()
    free, shared = crowd.share @ side.free * (1 - m), crowd.share @ side.shared * m
    mean, square = (
        np.einsum("nci,c->ni", one, free) + np.einsum("nci,c->ni", other, shared)
        for one, other in ((alone.mean, joined.mean), (alone.square, joined.square))
    )
    common = setting.ingredients.common * own - balanced(setting, before)[draw]
    common += on_both(crowd) * before.inactive[draw]
    both = [(alone.less(true, i), joined.less(true, i)) for i in range(ANGLES)]
    errors = [
        square_of_mean(setting, side, nodes, of_one, common, setting.z - 1) for of_one in both
    ]
    by_draw = [np.mean(errors, 0), 2 * ((mean - true) * true).mean(1), 2 * square.mean(1)]
    share = nodes.share / draws
    on = alone.on_by_block(free, share) + joined.on_by_block(shared, share)
    return (*(_by_draw(nodes.share * x, draw, draws) for x in by_draw), on)


def balanced(setting: Setting, before: Vectors) -> Float[np.ndarray, " r"]:
    """How much less alike two positions of a row hear, as Delta w_t add up to 0 over all circuits.

    A position hears an active vector times 1/S from heard = (c - 1) S^2 d/D of the T circuits
    (6.26), another position of its row from as many others. Two sums of Delta w_t over different
    circuits, heard of each, have the mean product - heard^2/T.
    """
    crowd = setting.crowd
    heard = crowd.meets * float(crowd.share @ crowd.met)
    each = before.sent / (2 * crowd.S**2)
    return np.asarray(setting.ingredients.balanced * setting.z * heard**2 / crowd.T * each)


def on_both(crowd: Crowd) -> float:
    """Half the circuits that two positions of a row both carry, itself left out."""
    return (crowd.alike - 1) / max(crowd.S - 1, 1) * float(crowd.share @ crowd.met) / 2


def _by_draw(
    of_node: Float[np.ndarray, " n"], draw: Int[np.ndarray, " n"], draws: int
) -> Float[np.ndarray, " r"]:
    """The sum over nodes of each draw."""
    return np.bincount(draw, of_node, draws)
