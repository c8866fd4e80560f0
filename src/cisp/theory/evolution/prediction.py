"""The prediction: layer after layer, as a table of errors, of activity, and of laws."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import qmc

from cisp.allocation import Table, prime_steps
from cisp.arguments import DEEPEST, count, instance, number, one_of, positive, room
from cisp.theory.evolution.crowd import crowd_of
from cisp.theory.evolution.domain import check_domain, off
from cisp.theory.evolution.first import first_layer
from cisp.theory.evolution.indicators import next_state
from cisp.theory.evolution.seen import sides
from cisp.theory.evolution.setting import Ingredients, Setting, Step
from cisp.theory.evolution.state import State, first_draws, first_state
from cisp.theory.evolution.vectors import Vectors, first_vectors, next_vectors

Circuits = Literal["inactive", "active"]


@dataclass(frozen=True, eq=False)
class DensityEvolution:
    """Predicted laws and errors of a network of conditional rotations, by layer.

    errors: z, layer, quantity, circuits, mse: columns of `Measurement.errors`. And `off`: the truth
    is expected within a factor of 1 + off, in 19 of 20 cells (`density_evolution`).
    activity: z, layer, block, fraction of the block's neurons that are on.
    values: (a,) the On-indicators that a read-out can show, from 0 to 1.
    inactive, active: (L, a) the probability of each for an inactive and for an active circuit.
    drawn: (2, L, r, a) the same for each draw, of which they are the mean.

    >>> import cisp
    >>> table = cisp.prime_steps(T=100, n=100, S=4)
    >>> found = cisp.density_evolution(T=100, D=400, S=4, z=1, L=2, table=table)
    >>> found.errors.columns.tolist()
    ['z', 'layer', 'quantity', 'circuits', 'mse', 'off']
    """

    errors: pd.DataFrame
    activity: pd.DataFrame
    values: Float[np.ndarray, " a"]
    inactive: Float[np.ndarray, "L a"]
    active: Float[np.ndarray, "L a"]
    drawn: Float[np.ndarray, "2 L r a"]

    def tail(self, value: float | int, *, layer: int, circuits: Circuits = "inactive") -> float:
        """The probability that a read-out of the On-indicator exceeds the value.

        >>> import cisp
        >>> found = cisp.density_evolution(T=100, D=400, S=4, z=1, L=1)
        >>> round(found.tail(0.2, layer=1), 3)  # that one of its 4 positions is taken
        0.129
        """
        return float(self._law(layer, circuits)[self.values > number("value", value) + 1e-9].sum())

    def largest(self, readouts: int, *, layer: int, circuits: Circuits = "inactive") -> float:
        """The expected largest of so many read-outs of one input, independent but for its draw.

        >>> import cisp
        >>> found = cisp.density_evolution(T=100, D=400, S=4, z=1, L=1)
        >>> [round(found.largest(readouts, layer=1), 2) for readouts in (1, 10, 100)]
        [0.03, 0.18, 0.25]
        """
        self._law(layer, circuits)
        laws = self.drawn[int(circuits == "active"), layer - 1]
        upto = laws.cumsum(1).clip(0, 1) ** count("readouts", readouts)
        upto[:, -1] = 1
        return float((np.diff(upto, axis=1, prepend=0) @ self.values).mean())

    def _law(self, layer: int, circuits: Circuits) -> Float[np.ndarray, " a"]:
        laws = {"inactive": self.inactive, "active": self.active}
        one_of("circuits", circuits, laws)
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
    """Predicted laws of the On-indicators and mean squared errors in layers 1..L.

    Chapter 11. The step is clip(gain (u - threshold) + 1/2, 0, 1), the post's with 2 and 0.5 (3.3).
    Of the table (by default that of `prime_steps`) its loads are used, and which rows meet. What
    is averaged over: the dealings, the active circuits, their vectors. Errors of vectors, and
    blocks 2 and 3, are those of `conditional_rotations`. Layer 1 is exact, but for vectors of rows
    that share several positions.

    Claimed for n = D/d >= 60, T >= 100, T S >= 2n, T S^2 <= n^2, z to 6, z S <= n/4, L to 10, and
    tables whose rows seldom share more than one position (`domain.DOMAIN`); for errors of vectors
    up to 3, beyond which networks differ too much from each other. Set on measured networks are an
    exponent and two limits, of how links come in rows (`rows`). How far an error may be off is its
    `off`: little for inactive circuits' indicators, most for active ones' where few inputs fail.
    Outside of the domain, `evolve` gives what comes out.

    Raises ValueError outside that, if d does not divide D, if the table is not one of T rows of S
    positions below D/d, or if gain or threshold is not positive.

    >>> predicted = density_evolution(T=300, D=1000, S=6, z=1, L=2)
    >>> predicted.errors[predicted.errors.circuits == "inactive"].round(3)
       z  layer   quantity  circuits    mse   off
    0  1      1  indicator  inactive  0.004  0.00
    2  1      1   rotation  inactive  0.004  0.00
    4  1      2  indicator  inactive  0.005  0.06
    6  1      2   rotation  inactive  0.005  0.09
    """
    crowd_of(T=T, D=D, d=d, S=S, table=table)  # what is wrong with the sizes comes first
    if T * S > D / d:
        check_domain(T=T, n=D / d, S=S, z=count("z", z), L=count("L", L), table=table)
    return evolve(
        T=T, D=D, d=d, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold,
        ingredients=Ingredients(),
    )  # fmt: skip


def evolve(
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
    ingredients: Ingredients,
) -> DensityEvolution:
    """As `density_evolution`, with other ingredients: to leave one out, or change the numerics.

    >>> finer = evolve(T=60, D=400, S=4, z=1, L=2, ingredients=Ingredients(levels=16))
    >>> len(finer.values)
    65
    """
    instance("ingredients", ingredients, Ingredients)
    classes, levels = ingredients.classes, count("levels", ingredients.levels, low=2)
    if levels % 2:
        raise ValueError(f"levels={levels} is not allowed; levels must be even")
    draws = count("draws", ingredients.draws, low=2)
    if draws & (draws - 1):
        raise ValueError(f"draws={draws} is not allowed; draws must be a power of 2, from 2 on")
    if count("d", d) != 4:
        raise ValueError(f"d={d} is not allowed; d must be 4, as of conditional_rotations")
    count("T", T, low=2), count("S", S), count("z", z), count("L", L, high=DEEPEST)
    positive("gain", gain), positive("threshold", threshold)
    room("L", L, L * (z + 2) * ingredients.draws)
    crowd = crowd_of(T=T, D=D, d=d, S=S, table=table, classes=classes, levels=levels)
    if T < count("z", z) + 2:
        raise ValueError(f"T={T} is too small for z={z}; T must be at least z + 2 = {z + 2}")
    table = prime_steps(T=T, n=crowd.n, S=S) if table is None else np.asarray(table)
    first = first_layer(table, n=crowd.n, z=z)
    sets = ingredients.sets(table, crowd.n, z, ingredients.draws, classes)
    setting = Setting(crowd, z, first, Step(gain, threshold), ingredients, sets)
    layers = list(followed(setting, L))
    drawn = np.stack([[law.sum(1) for law in (s.inactive, s.active)] for s, _ in layers], 1)
    inactive, active = drawn.mean(2)
    inactive[0] = 0
    inactive[0, : levels * len(first.taken) : levels] = first.taken
    errors = _errors(z, layers)
    errors.loc[0, "mse"] = inactive[0] @ crowd.values**2
    n, together = crowd.n, crowd.alike > 1 + 1e-9
    errors["off"] = off(errors, in_use=z * S / n, load=T * S / n, together=together)
    return DensityEvolution(errors, _activity(z, layers), crowd.values, inactive, active, drawn)


def followed(setting: Setting, L: int) -> Iterator[tuple[State, Vectors]]:
    """Layers 1..L, for so many draws of the active circuits and of the noise's strength.

    Each takes every slice once. The first half of them, which alone the vectors are followed for,
    takes one slice of two.
    """
    crowd, draws, sets = setting.crowd, setting.ingredients.draws, setting.sets
    points = qmc.Sobol(3 * L, rng=np.random.default_rng(0)).random(draws)
    slices, of, member = (points.T * draws).astype(int).reshape(3, L, draws)
    member = member * sets.kinds.shape[1] // draws
    kinds, over = sets.kinds[of, member], sets.over[of, member]
    state = first_state(crowd, setting.taken(of[0]).sum(1), kinds[0], over[0])
    vectors = first_vectors(setting, draws // 2)
    yield state, vectors
    for layer in range(1, L):
        both = sides(setting, state, kinds[layer], of[layer])
        state = next_state(setting, state, *both, kinds[layer], over[layer], slices[layer])
        vectors = next_vectors(setting, vectors, *(first_draws(side, draws // 2) for side in both))
        yield state, vectors


def _errors(z: int, layers: list[tuple[State, Vectors]]) -> pd.DataFrame:
    """The mean squared errors of indicators and vectors, means over the draws."""
    rows = [
        (z, layer, quantity, circuits, float(mse.mean()))
        for layer, (state, vectors) in enumerate(layers, 1)
        for (quantity, circuits), mse in (state.errors() | vectors.errors()).items()
    ]
    return pd.DataFrame(rows, columns=["z", "layer", "quantity", "circuits", "mse"])


def _activity(z: int, layers: list[tuple[State, Vectors]]) -> pd.DataFrame:
    """The fraction of neurons on in each block."""
    rows = [
        (z, layer, block, fraction)
        for layer, (_, vectors) in enumerate(layers, 1)
        for block, fraction in enumerate(vectors.fractions)
    ]
    return pd.DataFrame(rows, columns=["z", "layer", "block", "fraction"])
