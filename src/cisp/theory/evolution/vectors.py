"""The squared errors of rotating vectors, beside the law of the On-indicators (chapter 10).

A position's two vector neurons are ReLU(2u - 1 + V_i). V adds up the vectors that its circuits
send, each turned by an angle of its own: Gaussian, but for the unit vector of an active circuit.
An inactive circuit sends one of E|x_hat|^2 on average, in proportion to its read-out, for a neuron
that is off sends neither; so the others on a position bring a variance in proportion to X. What a
neuron holds beyond s is its part of the vector, x_i = ReLU(2u - 1 + V_i) - s.
"""

from dataclasses import dataclass, replace

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
    tied = _tied(setting, inactive.law.sum(1))
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
    setting: Setting, before: Vectors, side: Side, tied
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " 4"]]:
    """E|x_hat|^2 of an inactive circuit, and how often a neuron of no active circuit is on."""
    crowd, G = setting.crowd, len(side.seen)
    mean = np.maximum(side.law.sum(1) @ crowd.values, 1e-300)
    silent, still = np.zeros((G * len(mean), 1)), np.zeros(G * len(mean))
    side, every = _by_group(side), np.repeat(np.arange(len(mean)), G)
    others, nodes = before.inactive[every], _nodes(crowd, side.law.sum(1))
    own = (others / mean[every] / 2)[:, None] * read_grid(crowd)
    shift = side.seen[0].shift
    left = shift / np.maximum((nodes.sum(1) * shift).reshape(-1, G).sum(1)[every], 1e-300)
    tie = tied[every], left
    noise = np.maximum(before.active - before.shrunk**2, 0)[every, None] / 2
    x = (1 + before.shrunk)[every, None] * COMPONENTS
    alone = neurons_of(setting, side.seen[0], 0, Sent(silent, own, others, still, *tie))
    joined = neurons_of(setting, side.seen[0], 1, Sent(x, own + noise, others, still, *tie))
    if setting.z > 1:
        more = Sent(x, own + 2 * noise + 0.5, others, still, *tie)
        joined = mixed(joined, neurons_of(setting, side.seen[0], 2, more), side.twice)
    squares = square_of_mean(setting, side, alone.overall(), joined.overall(), own)
    empty = crowd.empty(setting.z)
    found = (nodes * squares).sum(1).reshape(-1, G).sum(1)
    return found, G * alone.on_by_block(empty / empty.sum(), nodes)


def _by_group(side: Side) -> Side:
    """The side with each group of each draw as a draw of its own."""
    r, G = side.law.shape[:2]
    X = [np.stack(laws, 1) for laws in zip(*(one.X for one in side.seen), strict=True)]
    shift = np.stack([one.shift for one in side.seen], 1).ravel()
    seen = Seen([x.reshape(-1, *x.shape[2:]) for x in X], shift)
    return replace(
        side,
        law=side.law.reshape(r * G, 1, -1),
        seen=[seen],
        taken=np.repeat(side.taken, G, 0),
    )


def _tied(setting: Setting, law):
    """How much the power that a position hears grows with X, but for Q/Var X."""
    crowd = setting.crowd
    mean = law @ crowd.values
    variance = law @ crowd.values**2 - mean**2
    return crowd.S * variance / np.maximum(mean, 1e-300) / (1 - crowd.S / crowd.n)


def _active(
    setting: Setting, before: Vectors, side: Side, tied
) -> tuple[
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " r"],
    Float[np.ndarray, " 4"],
]:
    """Of an active circuit: E|delta x|^2, shrunk, sent, and how often its neurons are on."""
    crowd, true = setting.crowd, COMPONENTS
    share, seen = _nodes(crowd, side.law.sum(1)), side.seen[0]
    own = np.maximum(before.active - before.shrunk**2, 0)[:, None] / 2 + 0 * read_grid(crowd)
    x = (1 + before.shrunk)[:, None] * true
    tie = tied, np.ones(len(own))
    mine = crowd.meets * before.sent / crowd.S**2  # its own vector, on average, from each (6.26)
    alone = neurons_of(setting, seen, 0, Sent(x, own, before.inactive, mine, *tie))
    joined = alone
    if setting.z > 1:
        joined = neurons_of(setting, seen, 1, Sent(x, own + 0.5, before.inactive, mine, *tie))
    if setting.z > 2:
        more = Sent(x, own + 1, before.inactive, mine, *tie)
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


def _nodes(crowd: Crowd, law: Float[np.ndarray, "... a"]) -> Float[np.ndarray, "... b"]:
    """The law of read-outs on these, for fewer integrals."""
    found = coarse(law[..., :-1], crowd.levels // 2)
    found[..., -1] += law[..., -1]
    return found
