"""What stays the same from layer to layer: the crowd, the step, and the ingredients of the map."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution import crowd as crowds
from cisp.theory.evolution import laws
from cisp.theory.evolution.active import Sets, sets_of
from cisp.theory.evolution.crowd import Array, Crowd
from cisp.theory.evolution.first import First


@dataclass(frozen=True)
class Step:
    """s = clip(gain (u - threshold) + 1/2, 0, 1): the step of the On-indicators (C10.2).

    The post's, min(max(2u - 1/2, 0), 1), has gain 2 and threshold 1/2 (3.3).

    >>> post, late = Step(), Step(gain=4, threshold=0.75)
    >>> u = np.array([0.2, 0.5, 0.75, 0.9])
    >>> post(u).tolist(), late(u).round(1).tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """

    gain: float | int = 2
    threshold: float | int = 0.5

    def __call__(self, u: Array) -> Array:
        return np.clip(self.gain * (u - self.threshold) + 0.5, 0, 1)

    def knots(self, indicators: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
        """The u of each of some indicators.

        >>> Step().knots(np.array([0.0, 0.5, 1.0])).tolist()
        [0.25, 0.5, 0.75]
        """
        return self.threshold + (indicators - 0.5) / self.gain


def as_it_is(crowd: Crowd, own: Array) -> Array:
    """The read-out of the circuit a position belongs to: the a of C10.3."""
    return own


@dataclass(frozen=True)
class Ingredients:
    """What density evolution is made of; `cisp_book.studies.ablation` replaces one at a time.

    draws: of active circuits and of the noise's strength, a power of 2. classes: of positions by
    load, and kinds of rows. levels: steps between an indicator of 0 and one of 1.
    sets: (table, n, z, draws, classes) to the active circuits of each draw.
    linked: (crowd, less) to the law of an active row's links, `less` positions left out.
    narrowed: (law of X, variance to take off) to a law, as links come by rows, in a fixed number.
    drawn: (mean noise, slices, variance besides) to the strength of one input's noise.
    own: (crowd, read-outs) to the part of u that is a circuit's own.
    rows, clumps, own_noise, apart, twice, sent_back, balanced, common, shrinking: 1 to count, 0 to
    leave out, that links come in whole rows, that positions of a circuit are on together, that a
    circuit does not hear its own noise, that its positions hear different circuits, positions of
    two other active circuits, a circuit's own vector that others send back (6.26), that Delta w add
    up to 0 over all circuits, the noise of a circuit that moves all its neurons alike, and the
    shrinking of active vectors.

    >>> from cisp.theory import evolve
    >>> deaf = Ingredients(own=lambda crowd, own: 0 * own)  # to what a circuit itself sends
    >>> found = evolve(T=60, D=400, S=4, z=1, L=2, ingredients=deaf).errors
    >>> found.query("layer == 2 and circuits == 'active'").mse.round(1).tolist()
    [1.0, 1.0]
    """

    draws: int = 64
    classes: int = crowds.CLASSES
    levels: int = crowds.LEVELS
    sets: Callable[..., Sets] = sets_of
    linked: Callable[[Crowd, int], Array] = crowds.linked
    narrowed: Callable[[Array, Array], Array] = laws.narrowed
    drawn: Callable[[Array, Int[np.ndarray, " r"], Array], Array] = laws.drawn
    own: Callable[[Crowd, Array], Array] = as_it_is
    rows: float | int = 1
    clumps: float | int = 1
    own_noise: float | int = 1
    apart: float | int = 1
    twice: float | int = 1
    sent_back: float | int = 1
    balanced: float | int = 1
    common: float | int = 1
    shrinking: float | int = 1


@dataclass(frozen=True, eq=False)
class Setting:
    """z active circuits of a crowd, layer 1, the step, the ingredients, and sets of circuits."""

    crowd: Crowd
    z: int
    first: First
    step: Step
    ingredients: Ingredients
    sets: Sets

    @property
    def unit(self) -> float:
        """What u gains by one step of X, (1/S + chi)/levels."""
        return (1 / self.crowd.S + self.crowd.chi) / self.crowd.levels

    def taken(self, slices: Int[np.ndarray, " r"]) -> Float[np.ndarray, "r k m"]:
        """P(k, m): a row is of this kind, active circuits of these slices take m positions of it.

        On average the exact law of layer 1.
        """
        law = self.sets.taken[..., : len(self.first.taken)]
        mean = (self.crowd.share @ law).mean(0)
        found = np.where(mean > 0, law / np.maximum(mean, 1e-300), 1) * self.first.taken
        found = self.crowd.share[:, None] * found / found.sum(2, keepdims=True)
        return np.asarray(found[slices])
