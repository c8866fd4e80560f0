"""A layer of On-indicators: the laws of the read-outs, what positions send, and what they see."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from cisp.theory.evolution.crowd import Crowd

LEAST = 1e-12  # a probability below is rounding
GROUPS = 3  # of circuits by positions that active ones take: none, one, more


@dataclass(frozen=True, eq=False)
class State:
    """A layer: the laws of the read-outs, in groups by m, and what its positions send on.

    moved: the law of inactive ones' read-outs in the layer before, and now, on every second point.
    kinds: the rows of the active circuits. over: how many positions of each are those of one before
    it too. taken: the law of the positions m of an inactive circuit that active ones take. sent:
    the law of s on active circuits' positions, by class. noise: how many positions of no active
    circuit have each s, by class. total: s over all. As s is rounded to levels, squares come out
    too high: rough, in the sum of s^2 over noise by class; rounded, in an inactive E a^2.
    """

    inactive: Float[np.ndarray, "r g a"]
    moved: Float[np.ndarray, "r b g a"]
    active: Float[np.ndarray, "r 1 a"]
    kinds: Int[np.ndarray, "r z"]
    over: Int[np.ndarray, "r z"]
    taken: Float[np.ndarray, "r m"]
    sent: Float[np.ndarray, "r c s"]
    noise: Float[np.ndarray, "r c s"]
    rough: Float[np.ndarray, "r c"]
    rounded: Float[np.ndarray, " r"]
    total: Float[np.ndarray, " r"]

    def errors(self) -> dict[tuple[str, str], Float[np.ndarray, " r"]]:
        """The mean squared errors of the indicators, for each draw."""
        a = np.linspace(0, 1, self.inactive.shape[2])
        return {
            ("indicator", "inactive"): self.inactive.sum(1) @ a**2 - self.rounded,
            ("indicator", "active"): self.active.sum(1) @ (1 - a) ** 2,
        }


@dataclass(frozen=True, eq=False)
class Seen:
    """What the positions of a circuit see: the laws of X in steps of 1/levels, and chi M.

    X[j]: j other active circuits on the position, 0 to 2 or as many as there are,
    whose read-outs X then holds S times.
    """

    X: list[Float[np.ndarray, "r c x"]]
    shift: Float[np.ndarray, " r"]

    def beside(self, j: int) -> Float[np.ndarray, "r c x"]:
        """X with j other active circuits on the position, or as many as there are."""
        return self.X[min(j, len(self.X) - 1)]


@dataclass(frozen=True, eq=False)
class Side:
    """One kind of circuits, active or inactive, on its way from a layer to the next.

    law: of a in this layer. seen: what its positions see of this layer. taken: the law of m in the
    next. free, shared: the classes of a row's positions there that no other active circuit takes,
    and that one takes; twice: how often that are two.
    """

    law: Float[np.ndarray, "r g a"]
    seen: list[Seen]
    taken: Float[np.ndarray, "r k m"]
    free: Float[np.ndarray, "k c"]
    shared: Float[np.ndarray, "k c"]
    twice: Float[np.ndarray, " c"]

    @cached_property
    def read(self) -> Int[np.ndarray, " b"]:
        """The places of the read-outs a that occur."""
        return np.flatnonzero(self.law.max((0, 1)) > LEAST)


def first_draws(side: Side, k: int) -> Side:
    """The first k draws of a side."""
    seen = [Seen([X[:k] for X in one.X], one.shift[:k]) for one in side.seen]
    return replace(side, law=side.law[:k], seen=seen, taken=side.taken[:k])


def first_state(
    crowd: Crowd,
    taken: Float[np.ndarray, "r m"],
    kinds: Int[np.ndarray, "r z"],
    over: Int[np.ndarray, "r z"],
) -> State:
    """Layer 1: every position of an active circuit is on, m taken positions read m/S."""
    r, z = kinds.shape
    inactive, active = (
        np.zeros((r, g, len(crowd.values))) for g in (min(taken.shape[1], GROUPS), 1)
    )
    for m in range(taken.shape[1]):
        inactive[:, min(m, inactive.shape[1] - 1), crowd.levels * m] = taken[:, m]
    active[..., -1] = 1
    return State(
        inactive=inactive,
        moved=np.eye(inactive.shape[2])[:, None] * inactive[:, None],
        active=active,
        kinds=kinds,
        over=over,
        taken=taken,
        sent=np.zeros((r, len(crowd.size), crowd.levels + 1)) + (crowd.indicators == 1),
        noise=np.zeros((r, len(crowd.size), crowd.levels + 1)),
        rough=np.zeros((r, len(crowd.size))),
        rounded=np.zeros(r),
        total=z * crowd.S - over.sum(1).astype(float),
    )
