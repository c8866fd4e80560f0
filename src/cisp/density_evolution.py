"""The law of the On-indicators, layer by layer: what the post's formulas leave out.

The On-indicators evolve alone: s_p = step(u_p), u = W_emb s. Seen from a position p that carries
circuit t, with a_t the read-out of t's S positions in the layer before,

    u_p = a_t + (1/S + chi) X - chi M,

where X sums s over the positions that the other circuits on p bring in, and M over all positions
but t's. One map, read-out -> S neurons -> next read-out, serves active and inactive circuits.
Chapter 10 derives each part. Axes of arrays: r draws, k kinds of rows, c classes of positions,
D positions taken by active circuits, a read-outs, s indicators of a neuron, w frequencies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Complex, Float, Int
from scipy.special import gammainc, gammaincinv
from scipy.stats import qmc

from cisp.allocation import Table
from cisp.arguments import count
from cisp.crowds import INDICATORS, LEVELS, Array, Crowd, Numbers, Seen, Step, crowd_of, none
from cisp.vector_evolution import Vectors, first_vectors, next_vectors

DRAWS = 32  # draws of the active circuits' kinds and of the noise's strength

Circuits = Literal["inactive", "active"]


@dataclass(frozen=True, eq=False)
class DensityEvolution:
    """Predicted laws and errors of a network of conditional rotations, by layer.

    errors: z, layer, quantity, circuits, mse: columns of `Measurement.errors`.
    activity: z, layer, block, fraction of the block's neurons that are on.
    values: (a,) the On-indicators that a read-out can show, from 0 to 1.
    inactive, active: (L, a) the probability of each for an inactive and for an active circuit.
    """

    errors: pd.DataFrame
    activity: pd.DataFrame
    values: Float[np.ndarray, " a"]
    inactive: Float[np.ndarray, "L a"]
    active: Float[np.ndarray, "L a"]

    def tail(self, value: float | int, *, layer: int, circuits: Circuits = "inactive") -> float:
        """The probability that a read-out of the On-indicator exceeds the value."""
        return float(self._law(layer, circuits)[self.values > value + 1e-9].sum())

    def largest(self, readouts: int, *, layer: int, circuits: Circuits = "inactive") -> float:
        """The expected largest of so many read-outs, as if they were independent."""
        upto = self._law(layer, circuits).cumsum().clip(0, 1) ** count("readouts", readouts)
        upto[-1] = 1
        return float(self.values @ np.diff(upto, prepend=0))

    def _law(self, layer: int, circuits: Circuits) -> Float[np.ndarray, " a"]:
        laws = {"inactive": self.inactive, "active": self.active}
        if circuits not in laws:
            raise ValueError(f"circuits={circuits!r} is not allowed; it must be one of {[*laws]}")
        return laws[circuits][count("layer", layer, high=len(self.inactive)) - 1]


def density_evolution(
    *,
    T: int,
    D: int,
    d: int = 4,
    S: int,
    z: int,
    L: int,
    table: Table | None = None,
    gain: float | int = 2,
    threshold: float | int = 0.5,
) -> DensityEvolution:
    """Predicted laws of the On-indicators and mean squared errors in layers 1..L, nothing fitted.

    Chapter 10. The step is clip(gain (u - threshold) + 1/2, 0, 1), the post's with 2 and 0.5 (3.3).
    Of the table (by default that of `prime_steps`) only its loads are used. What is averaged over:
    the dealings, the active circuits, their vectors. Errors of vectors, and blocks 2 and 3, are
    those of `conditional_rotations`. It takes seconds at most sizes. Meant for blocks of some
    hundred positions or more and rows that share at most one; chapter 10 measures how it holds.

    Raises ValueError if d does not divide D, if the table is not one of T rows of S positions below
    D/d, if T < z + 2 (an inactive circuit needs others), or if gain or threshold is not positive.

    >>> predicted = density_evolution(T=300, D=1000, S=6, z=1, L=2)
    >>> predicted.errors[predicted.errors.circuits == "inactive"].round(3)
       z  layer   quantity  circuits    mse
    0  1      1  indicator  inactive  0.004
    2  1      1   rotation  inactive  0.004
    4  1      2  indicator  inactive  0.005
    6  1      2   rotation  inactive  0.005
    """
    crowd = crowd_of(T=T, D=D, d=d, S=S, table=table)
    if T < count("z", z) + 2:
        raise ValueError(f"T={T} is too small for z={z}; T must be at least z + 2 = {z + 2}")
    for name, value in (("gain", gain), ("threshold", threshold)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name}={value!r} is not allowed; {name} must be a positive number")
    layers = list(_evolve(crowd, z, count("L", L), Step(gain, threshold)))
    errors = [
        (z, layer, quantity, circuits, float(mse.mean()))
        for layer, state in enumerate(layers, 1)
        for (quantity, circuits), mse in state.errors().items()
    ]
    activity = [
        (z, layer, block, fraction)
        for layer, state in enumerate(layers, 1)
        for block, fraction in enumerate(state.vectors.fractions)
    ]
    return DensityEvolution(
        pd.DataFrame(errors, columns=["z", "layer", "quantity", "circuits", "mse"]),
        pd.DataFrame(activity, columns=["z", "layer", "block", "fraction"]),
        crowd.values,
        np.stack([state.inactive.sum(1).mean(0) for state in layers]),
        np.stack([state.active.sum(1).mean(0) for state in layers]),
    )


@dataclass(frozen=True, eq=False)
class State:
    """A layer: the laws of the read-outs, and what its positions send on.

    inactive, active: joint laws of the positions D that other active circuits take, and of a.
    kinds: the rows of the active circuits. sent: the law of s on an active circuit's positions.
    noise: how many positions of no active circuit have each s, by class. total: s over all.
    """

    inactive: Float[np.ndarray, "r D a"]
    active: Float[np.ndarray, "r E a"]
    kinds: Int[np.ndarray, "r z"]
    sent: Float[np.ndarray, "r s"]
    noise: Float[np.ndarray, "r c s"]
    total: Float[np.ndarray, " r"]
    vectors: Vectors

    def errors(self) -> dict[tuple[str, str], Float[np.ndarray, " r"]]:
        """The mean squared errors, for each draw."""
        a = np.linspace(0, 1, self.inactive.shape[2])
        return {
            ("indicator", "inactive"): self.inactive.sum(1) @ a**2,
            ("indicator", "active"): self.active.sum(1) @ (1 - a) ** 2,
            ("rotation", "inactive"): self.vectors.inactive,
            ("rotation", "active"): self.vectors.active,
        }


def _evolve(crowd: Crowd, z: int, L: int, step: Step) -> Iterator[State]:
    draws = qmc.LatinHypercube(L * (z + 1), rng=np.random.default_rng(0)).random(DRAWS)
    kinds = (draws[:, : L * z] * len(crowd.met)).astype(int).reshape(DRAWS, L, z)
    slices = (draws[:, L * z :] * DRAWS).astype(int)
    state = _first(crowd, kinds[:, 0])
    yield state
    for layer in range(1, L):
        state = _next(crowd, state, kinds[:, layer], slices[:, layer], step)
        yield state


def _first(crowd: Crowd, kinds: Int[np.ndarray, "r z"]) -> State:
    """Layer 1: every position of an active circuit is on, D taken positions read D/S."""
    r, z = kinds.shape
    taken, met = crowd.taken(kinds).mean(1), crowd.taken(kinds[:, :-1]).mean(1)
    inactive = np.zeros((r, taken.shape[1], len(crowd.values)))
    for D in range(taken.shape[1]):
        inactive[:, D, D * LEVELS] = taken[:, D]
    active = np.zeros((r, met.shape[1], len(crowd.values)))
    active[..., -1] = met
    return State(
        inactive=inactive,
        active=active,
        kinds=kinds,
        sent=np.zeros((r, LEVELS + 1)) + (INDICATORS == 1),
        noise=np.zeros((r, len(crowd.size), LEVELS + 1)),
        total=np.full(r, crowd.occupied(z)),
        vectors=first_vectors(crowd, kinds),
    )


def _next(
    crowd: Crowd,
    state: State,
    kinds: Int[np.ndarray, "r z"],
    slices: Int[np.ndarray, " r"],
    step: Step,
) -> State:
    """The layer after this one, in which the active circuits have rows of these kinds."""
    z = kinds.shape[1]
    seen_inactive, seen_active = _seen(crowd, state)
    taken, met = crowd.taken(kinds), crowd.taken(kinds[:, :-1])
    sends = [[_sends(crowd, X, seen.shift, step) for X in seen.X] for seen in seen_inactive]
    inactive = _read(state.inactive, sends, crowd.classes(z), taken)
    law = np.einsum("rDa,Drcas->rcs", state.inactive, np.stack([s[0] for s in sends]))
    noise = _drawn(crowd.empty(z)[:, None] * law, slices)
    sends = [[_sends(crowd, X, seen.shift, step) for X in seen.X] for seen in seen_active]
    active = _read(state.active, sends, crowd.classes(z - 1), met)
    free, shared = (c.mean(0) for c in crowd.classes(z - 1))
    also = (z - 1) * crowd.meets / crowd.S
    weights = np.stack([free * (1 - also), shared * also])
    sent = np.einsum("rDa,Djrcas,jc->rs", state.active, np.array(sends), weights)
    return State(
        inactive=inactive,
        active=active,
        kinds=kinds,
        sent=sent,
        noise=noise,
        total=(noise @ INDICATORS).sum(1) + crowd.occupied(z) * (sent @ INDICATORS),
        vectors=next_vectors(
            crowd,
            state.vectors,
            (state.inactive, seen_inactive, taken),
            (state.active, seen_active, met),
            z,
            step,
        ),
    )


def _seen(crowd: Crowd, state: State) -> tuple[list[Seen], list[Seen]]:
    """What positions of inactive and of active circuits see of this layer, for each D.

    X adds up independent parts: noise positions, each linked or not, and the active circuits, of
    which h positions are linked (none counted twice). Their transforms multiply.
    """
    z, S, T = state.kinds.shape[1], crowd.S, crowd.T
    linked = 1 - none(T - 1 - z, crowd.others[:, None] + 1, crowd.others)
    mean = float((state.noise @ INDICATORS @ linked).max()) + (2 * z + 1) * S
    size = 2 ** int(np.ceil(np.log2(LEVELS * (mean + 8 * np.sqrt(mean)))))
    waves = np.exp(
        -2j * np.pi / size * np.outer(np.arange(S * LEVELS + 1), np.arange(size // 2 + 1))
    )
    chance = 1 + linked[:, None, :, None] * (waves[: LEVELS + 1, None] - 1)  # c s c w
    logs = np.log(np.where(np.abs(chance) < 1e-300, 1e-300, chance))
    noise = np.exp(np.tensordot(state.noise, logs, 2))
    sent, whole = state.sent @ waves[: LEVELS + 1], (state.active.sum(1) @ waves)[:, None]
    links = [crowd.linked(0), crowd.linked(1)]

    def block(v: int, less: int) -> Complex[np.ndarray, "r c w"]:
        """Active circuit v, a position of which may be one of an active circuit before it too."""
        again = v * crowd.meets / S
        once = (1 - again) * sent + again
        return links[less][state.kinds[:, v]] @ once[:, None] ** np.arange(S + 1)[:, None]

    blocks = [[block(v, less) for v in range(z)] for less in (0, 1)]
    each = (state.noise @ INDICATORS) @ (crowd.others + 1) / (T - z)  # noise a circuit brings in
    unlinked = 1 - linked.T @ crowd.size / crowd.size.sum()
    fewer = crowd.others * unlinked**2 * each[:, None] ** 2 / S * LEVELS**2

    def seen(others: int, D: int, own: Numbers) -> Seen:
        """X from so many other active circuits, D of which have a position less to send from."""
        laws = []
        for j in (0, 1):
            hat = noise * whole if j else noise
            for v in range(others - j):
                hat = hat * blocks[v < D][v]
            laws.append(_narrowed(np.fft.irfft(hat, size).clip(0), fewer))
        return Seen(laws, crowd.chi * (state.total - own))

    D = np.arange(state.active.shape[1])
    own = S * (state.active.sum(1) @ crowd.values) - state.active.sum(2) @ D
    return (
        [seen(z, D, D) for D in range(state.inactive.shape[1])],
        [seen(z - 1, D, own + D) for D in range(state.active.shape[1])],
    )


def _narrowed(
    law: Float[np.ndarray, "r c x"], fewer: Float[np.ndarray, "r c"]
) -> Float[np.ndarray, "r c x"]:
    """The law about its mean, with `fewer` less variance: a position has a fixed number of links.

    As many more as lead to silent positions, so many fewer lead to noise. Of n positions, p n
    linked, that takes p (1 - p) (sum of s)^2 / n from the variance of X.
    """
    x = np.arange(law.shape[2])
    mean = law @ x
    variance = law @ x**2 - mean**2
    k = np.sqrt(np.clip(1 - fewer / np.maximum(variance, 1e-9), 1 / 16, 1))[..., None]
    ends = np.arange(-1, law.shape[2] + 1)
    excess = k * _excess(law, mean[..., None] + (ends - mean[..., None]) / k)
    return np.where(fewer[..., None] > 0, np.diff(excess, 2).clip(0), law)


def _excess(law: Float[np.ndarray, "r c x"], y: Float[np.ndarray, "r #c y"]) -> Array:
    """E(X - y)+, exact between the points of the grid as beyond them."""
    above = np.cumsum(law[..., ::-1], -1)[..., ::-1]
    at = np.zeros_like(law)
    at[..., :-1] = np.cumsum(above[..., :0:-1], -1)[..., ::-1]
    low = np.floor(y).clip(0, law.shape[2] - 2).astype(int)
    here, there = (np.take_along_axis(at, low + k, 2) for k in (0, 1))
    return np.where(y < 0, at[..., :1] - y, here + np.minimum(y - low, 1) * (there - here))


def _sends(
    crowd: Crowd, law: Float[np.ndarray, "r c x"], shift: Float[np.ndarray, " r"], step: Step
) -> Float[np.ndarray, "r c a s"]:
    """The law of s at a position, given the read-out a of its circuit: s = step(u).

    A ramp cut at two u is the difference of two E(X - y)+, so the share of each level is a second
    difference of these; u between two levels is shared out so that the mean is right.
    """
    unit = (1 / crowd.S + crowd.chi) / LEVELS
    y = (step.knots - crowd.values[:, None] + shift[:, None, None]) / unit
    excess = _excess(law, y.reshape(len(y), 1, -1)).reshape(*law.shape[:2], *y.shape[1:])
    passed = -np.diff(excess, axis=3) * (unit * LEVELS * step.gain)
    one = np.ones_like(passed[..., :1])
    return (-np.diff(passed, axis=3, prepend=one, append=0 * one)).clip(0)


def _read(
    law: Float[np.ndarray, "r D a"],
    sends: list[list[Float[np.ndarray, "r c a s"]]],
    classes: tuple[Float[np.ndarray, "k c"], Float[np.ndarray, "k c"]],
    taken: Float[np.ndarray, "r k E"],
) -> Float[np.ndarray, "r E a"]:
    """The law of the next read-out: the mean of S neurons, independent given a.

    E of them sit on positions that also carry an active circuit.
    """
    r, _, A = law.shape
    S, size = (A - 1) // LEVELS, 2 ** int(np.ceil(np.log2(A)))
    hat = np.zeros((r, taken.shape[2], size // 2 + 1), complex)
    for a, neurons in zip(np.moveaxis(law, 1, 0), sends, strict=True):
        free, shared = (
            np.einsum("rcaw,kc->krwa", np.fft.rfft(s, size), c, optimize=True)
            for s, c in zip(neurons, classes, strict=True)
        )
        for k in range(taken.shape[1]):
            for E in range(taken.shape[2]):
                whole = free[k] ** (S - E) * shared[k] ** E
                hat[:, E] += taken[:, k, E, None] * (whole @ a[..., None])[..., 0]
    found = np.fft.irfft(hat, size)[..., :A].clip(0)
    return found / found.sum((1, 2), keepdims=True)


def _drawn(
    noise: Float[np.ndarray, "r c s"], slices: Int[np.ndarray, " r"]
) -> Float[np.ndarray, "r c s"]:
    """The noise of one input in place of its mean: its strength drawn from a gamma distribution.

    The strength is the sum of s^2 over positions that are on by chance. Its mean and variance fix
    the distribution; that is cut into equally likely slices, each with its mean in its place.
    """
    power = INDICATORS**2
    mean = np.maximum((noise @ power).sum(1), 1e-300)
    alone = (noise @ power) ** 2 / np.maximum(noise.sum(2), 1e-300)
    variance = np.maximum((noise @ power**2 - alone).sum(1), 1e-300)
    shape = np.maximum(mean**2 / variance, 1e-8)[:, None]
    below = gammainc(shape + 1, gammaincinv(shape, (slices[:, None] + np.array([0, 1])) / DRAWS))
    strength = DRAWS * np.diff(below)[:, 0]
    most = noise.sum((1, 2)) / np.maximum(noise[..., 1:].sum((1, 2)), 1e-300)
    return noise * np.where(INDICATORS > 0, np.minimum(strength, most)[:, None, None], 1)
