"""Which circuits live well in superposition, and how: errors foretold before anything is built."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np
import pandas as pd
import torch

from cisp.allocation import Table, prime_steps, prime_steps_capacity
from cisp.arguments import count, generator, instance, positions, positive, refuse, room
from cisp.circuits import SmallCircuits
from cisp.crowd import Crowd
from cisp.designs import transversal_design, transversal_design_capacity
from cisp.gates import silenced
from cisp.inputs import Seed
from cisp.meanfield import Foretold, dealt, extrinsic
from cisp.network import Network
from cisp.silence import least_silence
from cisp.wiring import Extrinsic

OFF = 1 / 3  # of what on neurons send: above it, noise wakes neurons that make more noise
CLOSE = 1.02  # counts of circuits and of neurons are found to 2 %
DOUBLED = 5  # times, at most, that D is doubled to find D_needed

WAYS = [
    ("superpose", "prime_steps"),
    ("superpose", "transversal_design"),
    ("superpose_extrinsic", "transversal_design"),
]
ALLOCATIONS: dict[str, tuple[Callable[..., Table], Callable[..., int]]] = {
    "prime_steps": (prime_steps, prime_steps_capacity),
    "transversal_design": (transversal_design, transversal_design_capacity),
}


def plan(
    circuits: SmallCircuits,
    *,
    D: int,
    z: int,
    error: float | int | None = None,
    S: Iterable[int] = range(2, 13),
    draws: int = 16384,
    rng: Seed = 0,
) -> pd.DataFrame:
    """The errors to expect at width D, for each embedding and S, best first (C19.3, C19.4).

    mse: of the active circuits' last read-out, in the last layer, over inputs with z active; nan
        where it is not foretold, for a reason given in `note`.
    fits, D_needed: with `error`, for the best S of each embedding and allocation: how many circuits
        of this kind stay below that error at this D, and the D at which these do, by the same law
        (extrinsic circuits with the bias of this D); nan if nothing is foretold at this D.

    "superpose_extrinsic" is with silence="auto". At z = 1 it is exact.

    The law (`cisp.meanfield`) gives the mean over dealings; single networks differ from it, most of
    all at z = 1. It draws `draws` active circuits at random, which leaves it some 3 % uncertain. It
    is claimed to 20 % for tables whose rows share at most one position, until neurons that should
    be off send a third of what the others do; from there on the plan says so and gives no number.
    Off neurons of the extrinsic network are taken to stay off at z > 1 as they do at z = 1.

    Raises ValueError for circuits without a read-out, a D that d does not divide, z not in 1..T-1,
    and an error that is not positive.

    >>> from cisp import conditional_rotations
    >>> plan(conditional_rotations(T=60), D=600, z=2, S=[4, 5], draws=512)["note"][0]
    'T <= D/d: side by side, without superposition, costs nothing'
    """
    instance("circuits", circuits, SmallCircuits)
    wide = torch.promote_types(circuits.w.dtype, torch.float32)
    circuits = circuits.to("cpu").to(wide)
    if not circuits.readouts:
        raise ValueError("circuits have no read-outs; the last of them is what a plan is about")
    count("z", z, high=circuits.T - 1)
    n, error = positions(D, circuits.d), None if error is None else positive("error", error)
    seed = int(generator(rng).integers(2**31))
    if not isinstance(S, Iterable):
        refuse("S", S, "several integers >= 1")
    each_S = [count("S", each) for each in S]
    room("draws", draws, 12 * circuits.d * count("draws", draws))
    rows: list[dict[str, object]] = []
    with torch.device("cpu"):
        for embedding, allocation in WAYS:
            job = _Job(circuits, embedding, allocation, z, draws, seed)
            found = [(job.foretell(n, each), each) for each in each_S]
            best = min(range(len(found)), key=lambda k: _order(found[k][0].mse), default=-1)
            for k, (told, each) in enumerate(found):
                row: dict[str, object] = {
                    "embedding": embedding,
                    "allocation": allocation,
                    "S": each,
                }
                more = nan, nan
                if error is not None and k == best and not np.isnan(told.mse):
                    more = _searched(told.job, n, each, error)
                row |= {"mse": told.mse, "fits": more[0], "D_needed": more[1], "note": told.note}
                rows.append(row)
    rows.sort(key=lambda row: _order(row["mse"]))  # type: ignore[arg-type]  # a float
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class _Job:
    """Circuits to be embedded in one way."""

    circuits: SmallCircuits
    embedding: str
    allocation: str
    z: int
    draws: int
    seed: int

    def foretell(self, n: int, S: int) -> "_Told":
        """The row's error and note for these circuits; for the extrinsic one, silenced."""
        T, capacity = self.circuits.T, self.capacity(n, S)
        if capacity < T:
            return _Told(nan, f"does not fit: {capacity} circuits do", self)
        if self.embedding == "superpose_extrinsic":
            if "indicator" not in self.circuits.readouts:
                return _Told(nan, "its gates need a read-out named 'indicator'", self)
            if self.z > 1:
                self = replace(self, circuits=self.silenced(n, S))
        told = self.law(T, n, S)
        if told.off > OFF:
            note = (
                f"indicators wake: neurons that should be off send {told.off:.2g} of what others do"
            )
            return _Told(nan, note, self)
        idle = "T <= D/d: side by side, without superposition, costs nothing" if n >= T else ""
        return _Told(told.mse, idle, self)

    def law(self, T: int, n: int, S: int) -> Foretold:
        """What is foretold for T circuits of this kind."""
        if self.embedding == "superpose_extrinsic" and self.z == 1:
            return Foretold(0.0)
        crowd = Crowd.of(self.table(T, n, S), n=n)
        law = extrinsic if self.embedding == "superpose_extrinsic" else dealt
        rng = np.random.default_rng(self.seed)
        return law(self.circuits, crowd, z=self.z, draws=self.draws, rng=rng)

    def table(self, T: int, n: int, S: int) -> Table:
        """The allocation's table."""
        return ALLOCATIONS[self.allocation][0](T=T, n=n, S=S)

    def capacity(self, n: int, S: int) -> int:
        """How many circuits the embedding has room for; the extrinsic one needs two positions."""
        alone = S == 1 and self.embedding == "superpose_extrinsic"
        return 0 if alone else ALLOCATIONS[self.allocation][1](n=n, S=S)

    def silenced(self, n: int, S: int) -> SmallCircuits:
        """The circuits with the bias that silence="auto" gives them on this table."""
        table = torch.from_numpy(self.table(self.circuits.T, n, S)).repeat(self.circuits.L, 1, 1)
        network = Network(self.circuits, Extrinsic(table, n=n))
        return silenced(self.circuits, least_silence(network, self.seed)[0])


@dataclass(frozen=True, eq=False)
class _Told:
    """A row's error, its note, and the job that it is of."""

    mse: float
    note: str
    job: _Job


def _searched(job: _Job, n: int, S: int, error: float | int) -> tuple[float, float]:
    """How many circuits stay below the error at n positions, and the D that these T need."""
    T, d, most = job.circuits.T, job.circuits.d, job.capacity(n, S)

    def good(T: int, n: int) -> bool:
        if job.capacity(n, S) < T:
            return False
        told = job.law(T, n, S)
        return told.mse <= error and told.off <= OFF

    job = replace(job, draws=max(job.draws // 4, 2 * job.z))
    fits = _last(2, most, lambda T: good(T, n))
    wide = n
    while not good(T, wide) and wide < n << DOUBLED:
        wide *= 2
    narrow = _last(S, wide, lambda n: not good(T, n))
    return float(fits), nan if narrow == wide else float((narrow + 1) * d)


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """About the last of low..high for which something holds that, once it fails, fails for good."""
    if high < low or not holds(low):
        return low - 1
    if holds(high):
        return high
    while high > max(low * CLOSE, low + 1):
        middle = min(max(round((low * high) ** 0.5), low + 1), high - 1)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _order(mse: float) -> float:
    return inf if np.isnan(mse) else mse
