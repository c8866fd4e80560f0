"""The squared errors of rotating vectors, beside the law of the On-indicators (chapter 10).

A position's two vector neurons are ReLU(2u - 1 + V_i). V adds up the vectors that its circuits
send, each turned by an angle of its own: Gaussian, but for the unit vector of an active circuit.
An inactive circuit sends one of E|x_hat|^2 on average, in proportion to its read-out, for a neuron
that is off sends neither; so the others on a position bring a variance in proportion to X. What a
neuron holds beyond s is its part of the vector, x_i = ReLU(2u - 1 + V_i) - s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from cisp.crowds import LEVELS, Array, Crowd, Seen, Step

POINTS = 96  # most values of X over which a neuron is averaged
ANGLES = 4  # directions of an active vector
COMPONENTS = np.cos((np.arange(ANGLES) + 0.5) * np.pi / ANGLES)

Side = tuple[Float[np.ndarray, "r _ a"], list[Seen], Float[np.ndarray, "r k _"]]


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


def first_vectors(crowd: Crowd, kinds: Int[np.ndarray, "r z"]) -> Vectors:
    """Layer 1, as in `theory.derived_first_layer`, to second order in how often circuits meet."""
    z, S, q = kinds.shape[1], crowd.S, crowd.S * crowd.met[kinds].mean(1) / (crowd.T - 1)
    return Vectors(
        inactive=(z * q + 4 * z * (z - 1) * q**2 / S) / S**2,
        active=(z - 1) * (9 * q + 8 * (z - 2) * q**2) / S**2,
        shrunk=np.zeros(len(kinds)),
        sent=np.ones(len(kinds)),
        fractions=(crowd.occupied(z) / crowd.n,) * 4,
    )


def next_vectors(
    crowd: Crowd, before: Vectors, inactive: Side, active: Side, z: int, step: Step
) -> Vectors:
    """The layer after. Of each side: the joint law of D and a, what is seen for each D, and in how
    many positions E the rows of the layer after meet active circuits.
    """
    S, (law, seen, taken) = crowd.S, inactive
    a = np.arange(2 * S + 1) / (2 * S)
    mean = np.maximum(law.sum(1) @ crowd.values, 1e-300)
    own = (before.inactive / mean / 2)[:, None] * a
    silent, still = np.zeros((len(own), 1)), np.zeros(len(own))

    x_inactive = still
    for share, one in zip(np.moveaxis(_nodes(crowd, law), 1, 0), seen, strict=True):
        neurons = [
            _neurons(crowd, one, 0, a, own, silent, before.inactive, still, step),
            _neurons(crowd, one, 1, a, own, silent + COMPONENTS, before.inactive, still, step),
        ]
        moments = [[m.mean(3) for m in found[:3]] for found in neurons]
        x_inactive = x_inactive + (share * _square(S, moments, crowd.classes(z), taken, own)).sum(1)
    empty = crowd.empty(z)
    neurons = [_neurons(crowd, _mean(law, seen), 0, a, own, silent, before.inactive, still, step)]
    on_noise = _on(neurons[0], empty / empty.sum(), _nodes(crowd, law.sum(1)))

    law, seen, taken = active
    share, one = _nodes(crowd, law.sum(1)), _mean(law, seen)
    own = np.maximum(before.active - before.shrunk**2, 0)[:, None] / 2 + 0 * a
    x = (1 + before.shrunk)[:, None] * COMPONENTS
    mine = crowd.meets * before.sent / S**2  # of its own vector, on average, from each other (6.26)
    alone = _neurons(crowd, one, 0, a, own, x, before.inactive, mine, step)
    joined = _neurons(crowd, one, 1, a, own + 0.5, x, before.inactive, mine, step)
    free, shared = (c.mean(0) for c in crowd.classes(z - 1))
    E = (taken.mean(1) @ np.arange(taken.shape[2]) / S).mean()
    weights = (free * (1 - E), shared * E)
    m, square = (
        np.tensordot(weights[0], alone[k], (0, 1)) + np.tensordot(weights[1], joined[k], (0, 1))
        for k in (0, 1)
    )
    true = COMPONENTS
    errors = [
        [found[0] - true, found[1] - 2 * true * found[0] + true**2, found[2]]
        for found in (alone, joined)
    ]
    x_active = still
    for i in range(ANGLES):
        moments = [[e[..., i] for e in error] for error in errors]
        squares = _square(S, moments, crowd.classes(z - 1), taken, own)
        x_active = x_active + (share * squares).sum(1) / ANGLES
    on_active = _on(alone, weights[0], share) + _on(joined, weights[1], share)
    return Vectors(
        inactive=x_inactive,
        active=x_active,
        shrunk=2 * (share * ((m - true) * true).mean(2)).sum(1),
        sent=2 * (share * square.mean(2)).sum(1),
        fractions=tuple((empty.sum() * on_noise + crowd.occupied(z) * on_active) / crowd.n),
    )


def _neurons(
    crowd: Crowd,
    seen: Seen,
    j: int,
    a: Float[np.ndarray, " a"],
    own: Float[np.ndarray, "r a"],
    x: Float[np.ndarray, "r i"],
    others: Float[np.ndarray, " r"],
    mine: Float[np.ndarray, " r"],
    step: Step,
) -> list[Float[np.ndarray, "r c a #i"]]:
    """E x_i, E x_i^2, and how often a neuron of the last, first and second block is on.

    Its circuits send x for certain, a Gaussian of variance `own`, and from each of the others one
    of E|x_hat|^2 = others: in proportion to X but for the part `mine`.
    """
    S, number = crowd.S, crowd.others[:, None, None]
    reach = int(np.flatnonzero(seen.X[j].max((0, 1)) > 1e-9)[-1])
    by = int(np.clip(2 ** np.ceil(np.log2((reach + 1) / POINTS)), 1, LEVELS))
    law = _coarse(seen.X[j], by)[..., : reach // by + 2]
    X = np.arange(law.shape[2]) * by / LEVELS
    u = a[:, None] + ((1 / S + crowd.chi) * X - seen.shift[:, None])[:, None, None]
    heard = np.maximum(X - j * S, 0)
    heard = heard / np.maximum(law @ heard, 1e-300)[..., None]
    mine = mine[:, None, None, None]
    rest = np.maximum(others[:, None, None, None] - mine, 0)
    variance = (number - j) * (mine + rest * heard[:, :, None]) / 2 + own[:, None, :, None]
    sd, s = np.sqrt(np.maximum(variance, 1e-12)), step(u)
    found = []
    for middle in np.moveaxis(x, 1, 0)[..., None, None, None] + 2 * u - 1:
        on = ndtr(middle / sd)
        first = middle * on + sd * np.exp(-((middle / sd) ** 2) / 2) / np.sqrt(2 * np.pi)
        second = middle * first + sd**2 * on
        found.append([first - s, second - 2 * s * first + s**2, on])
    above = [(u > step.knots[k] + 1e-9)[..., None] for k in (0, -1)]
    wanted = [np.stack(values, -1) for values in zip(*found, strict=True)] + above
    return [
        np.einsum("rcx,rcaxi->rcai", law, value + 0 * law[:, :, None, :1, None]) for value in wanted
    ]


def _square(
    S: int,
    moments: Sequence[Sequence[Float[np.ndarray, "r c a"]]],
    classes: tuple[Float[np.ndarray, "k c"], Float[np.ndarray, "k c"]],
    taken: Float[np.ndarray, "r k E"],
    own: Float[np.ndarray, "r a"],
) -> Float[np.ndarray, "r a"]:
    """E|mean of S neurons|^2, two components, from each neuron's mean, square and chance to be on.

    E of the positions are taken by an active circuit. The circuit's own noise moves all its neurons
    that are on.
    """
    (m, e, on), (m1, e1, on1) = (
        [np.einsum("kc,rca->rka", c, moment) for moment in found]
        for c, found in zip(classes, moments, strict=True)
    )
    total = np.zeros_like(own)
    for E, share in enumerate(np.moveaxis(taken, 2, 0)):

        def pairs(f: Array, g: Array, E: int = E) -> Array:
            return ((S - E) * f + E * g) ** 2 - (S - E) * f**2 - E * g**2

        each = (S - E) * e + E * e1 + pairs(m, m1) + own[:, None] * pairs(on, on1)
        total += (share[..., None] * each).mean(1) * 2 / S**2
    return total


def _on(
    found: list[Float[np.ndarray, "r c a #i"]],
    weights: Float[np.ndarray, " c"],
    share: Float[np.ndarray, "r a"],
) -> Float[np.ndarray, " 4"]:
    """How often a neuron of each block is on, over classes with these weights."""
    return np.array(
        [
            (share * np.tensordot(weights, found[k].mean(3), (0, 1))).sum(1).mean()
            for k in (3, 4, 2, 2)
        ]
    )


def _mean(law: Float[np.ndarray, "r D a"], seen: list[Seen]) -> Seen:
    """What is seen on average over D."""
    weights = law.sum(2)
    return Seen(
        [np.einsum("rD,Drcx->rcx", weights, np.stack([one.X[j] for one in seen])) for j in (0, 1)],
        np.einsum("rD,Dr->r", weights, np.stack([one.shift for one in seen])),
    )


def _nodes(crowd: Crowd, law: Float[np.ndarray, "... a"]) -> Float[np.ndarray, "... b"]:
    """The law of read-outs on the multiples of 1/(2S), for fewer integrals."""
    coarse = _coarse(law[..., :-1], LEVELS // 2)
    coarse[..., -1] += law[..., -1]
    return coarse


def _coarse(law: Float[np.ndarray, "... x"], by: int) -> Float[np.ndarray, "... y"]:
    """The law on every `by`-th point of its grid, each point's share split between neighbours."""
    parts = law.reshape(*law.shape[:-1], -1, by)
    up = parts @ (np.arange(by) / by)
    coarse = np.zeros((*law.shape[:-1], parts.shape[-2] + 1))
    coarse[..., :-1] = parts.sum(-1) - up
    coarse[..., 1:] += up
    return coarse
