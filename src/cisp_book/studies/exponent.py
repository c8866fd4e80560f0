"""How the critical T grows with the width, up to 128,000 neurons.

The On-indicators alone, by the neurons that are on. All layers use one table, and a permutation
each, which is as good as dealing its rows anew: position p sends over the rows through it in one
layer to the rows that these circuits have in the next.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from cisp.allocation import Table
from cisp.kernels import compiled
from cisp_book.kept import in_parts, kept
from cisp_book.studies.chosen import ALLOCATIONS
from cisp_book.studies.critical import CAPACITIES, MSE, critical_theory

L, GAIN, THRESHOLD = 5, 2.0, 0.5  # the post's step
SPREAD = 0.05  # the T simulated lie within so much of about the critical
NEAR, STEEP = 0.3, 16  # of the logarithm of the error: off by so much is about; its slope in ln T

Line = tuple[int, int, int, str]  # D, S, z, allocation
Index = Integer[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)
class Placed:
    """A table (T, S), and by position the circuits on it, in order: starts (n+1,), circuits."""

    table: Integer[np.ndarray, "T S"]
    starts: Integer[np.ndarray, " n+1"]
    circuits: Integer[np.ndarray, " C"]


def placed(T: int, line: Line) -> Placed:
    """The allocation's table of T circuits; its first rows are the tables of fewer."""
    D, S, _, name = line
    table = ALLOCATIONS[name](T=T, n=D // 4, S=S).astype(np.uint32)
    starts = np.pad(np.bincount(table.ravel(), minlength=D // 4).cumsum(), (1, 0))
    return Placed(table, starts, by_position(table, starts[:-1].copy()))


@compiled
def by_position(table: Table, ends: Index) -> Index:
    """The circuits on each position in turn; ends are the starts, and move."""
    T, S = table.shape
    circuits = np.empty(T * S, np.uint32)
    for t in range(T):
        for i in range(S):
            p = table[t, i]
            circuits[ends[p]] = t
            ends[p] += 1
    return circuits


@compiled
def linked(after: Table, starts: Index, circuits: Index, load: Index) -> tuple[Index, Index, float]:
    """Where each position sends: ends (n+1,), places, each once; and what 5.24 sums over them."""
    n, S = len(load), after.shape[1]
    seen, ends = np.zeros(n, np.int64), np.zeros(n + 1, np.int64)
    places = np.empty(len(after) * S**2, np.uint32)
    many, brought = 0, 0.0
    for p in range(n):
        for e in range(starts[p], starts[p] + load[p]):
            t = circuits[e]
            for i in range(S):
                q = after[t, i]
                if seen[q] != p + 1:
                    seen[q] = p + 1
                    places[many] = q
                    many += 1
                    brought += load[p] * load[q]
        ends[p + 1] = many
    return ends, places, brought


@compiled
def passed(
    s: Float[np.ndarray, "samples n"],
    ends: Index,
    places: Index,
    S: int,
    chi: float,
    gain: float,
    threshold: float,
) -> None:
    """One layer of all inputs, in place."""
    n = s.shape[1]
    X = np.zeros(n)
    for b in range(len(s)):
        X[:] = 0
        M = 0.0
        for p in range(n):
            x = s[b, p]
            if x > 0:
                M += x
                for e in range(ends[p], ends[p + 1]):
                    X[places[e]] += x
        for p in range(n):
            u = (1 / S + chi) * X[p] - chi * M
            s[b, p] = min(max(gain * (u - threshold) + 0.5, 0.0), 1.0)


def errors_of(
    place: Placed, T: int, z: int, samples: int, rng: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """The squared errors of active indicators in layer L of a network of T circuits of its own."""
    n, S = len(place.starts) - 1, place.table.shape[1]
    load = np.bincount(place.table[:T].ravel(), minlength=n)
    rows = np.array([rng.choice(T, z, replace=False, shuffle=False) for _ in range(samples)])
    s = np.zeros((samples, n))
    np.put_along_axis(s, place.table[rows].reshape(samples, -1).astype(int), 1, 1)
    for _ in range(L - 1):
        dealt = rng.permutation(T)
        ends, places, sums = linked(place.table[dealt], place.starts, place.circuits, load)
        brought = sums - T * S**2
        chi = brought / (S * (T * (T - 1) * S**2 - brought))
        passed(s, ends, places, S, chi, GAIN, THRESHOLD)
        rows = dealt[rows]
    alpha = np.take_along_axis(s, place.table[rows].reshape(samples, -1).astype(int), 1)
    return np.square(alpha.reshape(samples, z, S).mean(2) - 1).mean(1)


def about(line: Line, samples: int) -> tuple[int, Placed]:
    """A T near the critical, and a table of some more circuits; or all that can be placed."""
    D, S, z, name = line
    most = CAPACITIES[name](n=D // 4, S=S)
    T, place = 0, None
    guess = 360 * (D / 1000) ** 1.6 / z**0.6
    for step in range(12):
        T = round(float(np.clip(guess, D / 4 / S + z, most)))
        if place is None or len(place.table) < T * (1 + SPREAD):
            place = placed(min(round(T * (1 + 2 * SPREAD)), most), line)
        error = errors_of(place, T, z, samples, np.random.default_rng([step, T])).mean()
        off = np.clip(np.log(max(error, 1e-9) / MSE), -4, 4)
        if abs(off) < NEAR or (T == most and off < 0):
            break
        guess = T * np.exp(-off / STEEP)
    assert place is not None
    return T, place


def critical(line: Line, networks: int, samples: int) -> tuple[float, float]:
    """The critical T and its standard error, a jackknife over networks; NaN if none is placed.

    Networks of as many T, evenly spaced, and a parabola through the logarithms of their errors.
    """
    near, place = about(line, samples)
    Ts = np.linspace(1 - SPREAD, 1 + SPREAD, networks) * near
    Ts = Ts.round().astype(int)
    if Ts[-1] > len(place.table):
        return np.nan, np.nan
    errors = [
        errors_of(place, T, line[2], samples, np.random.default_rng([k, T, 1])).mean()
        for k, T in enumerate(Ts.tolist())
    ]
    x, y = np.log(Ts / near), np.log(np.array(errors) / MSE)

    def crossing(some: Integer[np.ndarray, " k"]) -> float:
        fit = np.polynomial.Polynomial.fit(y[some], x[some], 2)
        return float(near * np.exp(fit(0)))

    every = np.arange(networks)
    fewer = [crossing(every[every != k]) for k in every]
    return crossing(every), float(np.sqrt((networks - 1) * np.var(fewer)))


def effort(D: int) -> tuple[int, int]:
    """Networks, and inputs of each."""
    return (20, 2000) if D <= 16000 else (12, 800) if D <= 32000 else (8, 300)


K = 1000
EVEN = {  # S by D, one active circuit: as far as an hour allows
    **{D: (2, 3, 4, 6, 8, 10, 12) for D in (1 * K, 2 * K, 4 * K)},
    **{D: (3, 4, 6, 8, 10, 12) for D in (8 * K, 16 * K)},
    32 * K: (4, 6, 8, 10),
    64 * K: (4, 6, 8, 10, 12),
    128 * K: (4, 6, 8),
}
LINES: list[Line] = [  # prime steps up to 16,000 are in `critical_lines`
    *[(D, S, 1, "design") for D, sizes in EVEN.items() for S in sizes],
    *[(D, S, 2, "design") for D in (K, 4 * K, 16 * K) for S in (3, 4, 6, 8)],
    *[(64 * K, S, 2, "design") for S in (4, 6)],
    *[(32 * K, 6, z, "prime steps") for z in (1, 2)],
    (64 * K, 6, 1, "prime steps"),
]
FORETOLD: list[Line] = [  # density evolution; up to 8000 it is in `critical_predicted`
    (16 * K, S, 1, "design") for S in (4, 6, 8)
]
COLUMNS = ["D", "S", "z", "allocation"]


def all_simulated() -> pd.DataFrame:
    """The critical T of every line."""
    found = in_parts(critical, [(line, *effort(line[0])) for line in LINES])
    table = pd.DataFrame(LINES, columns=COLUMNS)
    return table.join(pd.DataFrame(found, columns=["T", "T_stderr"]))


def all_foretold() -> pd.DataFrame:
    """The same by density evolution, where that is quick enough."""
    found = in_parts(critical_theory, [((*line, GAIN, THRESHOLD, L),) for line in FORETOLD])
    return pd.DataFrame(FORETOLD, columns=COLUMNS).assign(predicted=found)


def exponent() -> pd.DataFrame:
    """The T at which active indicators of layer 5 err by 0.01, by simulation."""
    return kept("exponent", all_simulated, long="a quarter of an hour")


def exponent_predicted() -> pd.DataFrame:
    """The same by density evolution."""
    return kept("exponent_predicted", all_foretold, long="a minute")
