"""The squared errors of rotating vectors, beside the law of the On-indicators (chapter 10).

A position's two vector neurons are ReLU(2u - 1 + V_i). V adds up the vectors that its circuits
send, each turned by an angle of its own: Gaussian, but for the unit vector of an active circuit.
An inactive circuit sends one of E|x_hat|^2 on average, in proportion to its read-out, for a neuron
that is off sends neither; so the others on a position bring a variance in proportion to X. What a
neuron holds beyond s is its part of the vector, x_i = ReLU(2u - 1 + V_i) - s.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cisp.theory.evolution.crowd import Crowd
from cisp.theory.evolution.laws import coarse
from cisp.theory.evolution.neurons import Sent, mixed, neurons_of, read_grid, square_of_mean
from cisp.theory.evolution.setting import Setting
from cisp.theory.evolution.state import Seen, Side

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
    crowd = setting.crowd
    empty, occupied = crowd.empty(setting.z).sum(), crowd.occupied(setting.z)
    x_inactive, on_noise = _inactive(setting, before, inactive)
    x_active, shrunk, sent, on_active = _active(setting, before, active)
    return Vectors(
        inactive=x_inactive,
        active=x_active,
        shrunk=setting.ingredients.shrinking * shrunk,
        sent=sent,
        fractions=tuple((empty * on_noise + occupied * on_active) / crowd.n),
    )


def _inactive(
    setting: Setting, before: Vectors, side: Side
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " 4"]]:
    """E|x_hat|^2 of an inactive circuit, and how often a neuron of no active circuit is on."""
    crowd, law = setting.crowd, side.law.sum(1)
    a, silent, still = read_grid(crowd), np.zeros((len(law), 1)), np.zeros(len(law))
    mean = np.maximum(law @ crowd.values, 1e-300)
    own = (before.inactive / mean / 2)[:, None] * a
    free = Sent(silent, own, before.inactive, still)
    shared = Sent(silent + COMPONENTS, own, before.inactive, still)
    seen = _mean(side)
    alone = neurons_of(setting, seen, 0, free)
    joined = neurons_of(setting, seen, 1, shared)
    if setting.z > 1:
        more = Sent(shared.x, own + 0.5, before.inactive, still)
        joined = mixed(joined, neurons_of(setting, seen, 2, more), side.twice)
    squares = square_of_mean(setting, side, alone.overall(), joined.overall(), own)
    empty, nodes = crowd.empty(setting.z), _nodes(crowd, law)
    return (nodes * squares).sum(1), alone.on_by_block(empty / empty.sum(), nodes)


def _active(
    setting: Setting, before: Vectors, side: Side
) -> tuple[
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " 4"],
]:
    """Of an active circuit: E|delta x|^2, shrunk, sent, and how often its neurons are on."""
    crowd, true = setting.crowd, COMPONENTS
    share, seen = _nodes(crowd, side.law.sum(1)), _mean(side)
    own = np.maximum(before.active - before.shrunk**2, 0)[:, None] / 2 + 0 * read_grid(crowd)
    x = (1 + before.shrunk)[:, None] * true
    mine = crowd.meets * before.sent / crowd.S**2  # its own vector, on average, from each (6.26)
    alone = neurons_of(setting, seen, 0, Sent(x, own, before.inactive, mine))
    joined = neurons_of(setting, seen, 1, Sent(x, own + 0.5, before.inactive, mine))
    if setting.z > 2:
        more = Sent(x, own + 1, before.inactive, mine)
        joined = mixed(joined, neurons_of(setting, seen, 2, more), side.twice)
    m = (side.taken.mean(1) @ np.arange(side.taken.shape[2]) / crowd.S).mean()
    free, shared = side.free.mean(0) * (1 - m), side.shared.mean(0) * m
    mean, square = (
        np.tensordot(free, one, (0, 1)) + np.tensordot(shared, other, (0, 1))
        for one, other in ((alone.mean, joined.mean), (alone.square, joined.square))
    )
    error = np.zeros(len(own))
    for i in range(ANGLES):
        squares = square_of_mean(setting, side, alone.less(true, i), joined.less(true, i), own)
        error = error + (share * squares).sum(1) / ANGLES
    return (
        error,
        2 * (share * ((mean - true) * true).mean(2)).sum(1),
        2 * (share * square.mean(2)).sum(1),
        alone.on_by_block(free, share) + joined.on_by_block(shared, share),
    )


def _mean(side: Side) -> Seen:
    """What is seen on average over groups."""
    weights, shifts = side.law.sum(2), np.stack([one.shift for one in side.seen])
    X = [np.stack([one.X[j] for one in side.seen]) for j in range(3)]
    return Seen(
        [np.einsum("rm,mrcx->rcx", weights, x) for x in X], np.einsum("rm,mr->r", weights, shifts)
    )


def _nodes(crowd: Crowd, law: Float[np.ndarray, "... a"]) -> Float[np.ndarray, "... b"]:
    """The law of read-outs on these, for fewer integrals."""
    found = coarse(law[..., :-1], crowd.levels // 2)
    found[..., -1] += law[..., -1]
    return found
