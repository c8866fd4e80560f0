"""The critical line: the T at which the On-indicators of layer L begin to fail."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.sparse import csr_array

import cisp
from cisp_book.kept import in_parts, kept
from cisp_book.studies.chosen import ALLOCATIONS

CAPACITIES = {
    "prime steps": cisp.prime_steps_capacity,
    "design": cisp.transversal_design_capacity,
}
LINES = [  # D, S, z, allocation, gain, threshold, L: where is the critical T?
    *[(1000 * k, 6, z, "prime steps", 2, 0.5, 5) for k in (1, 2, 4, 8, 16) for z in (1, 2, 4)],
    *[(D, S, 1, "design", 2, 0.5, 5) for D in (1000, 2000, 4000, 8000) for S in (4, 6, 8)],
    *[(1000, S, 1, "prime steps", 2, 0.5, 5) for S in (3, 4, 5)],
    *[(4000, 6, 2, "prime steps", gain, th, 5) for gain, th in ((10, 0.5), (2, 0.6), (4, 0.6))],
]  # fmt: skip
DEPTHS = [  # even loads with other L, and wider: D, S, L
    *[(D, S, L) for D in (1000, 4000, 16000) for S in (4, 8) for L in (3, 4, 6)],
    *[(16000, S, 5) for S in (4, 6, 8)],
    *[(64000, S, 5) for S in (4, 8)],
]
MSE = 0.01  # the error at the critical T
AROUND = np.array([0.94, 0.97, 1, 1.03, 1.06])  # the T simulated, in units of about the critical
COLUMNS = ["D", "S", "z", "allocation", "gain", "threshold", "L"]

Line = tuple[int, int, int, str, float, float, int]


def active_errors(
    tables: Int[np.ndarray, "L T S"],
    active: Int[np.ndarray, "samples z"],
    *,
    n: int,
    gain: float = 2,
    threshold: float = 0.5,
) -> Float[np.ndarray, " samples"]:
    """The squared error of active indicators in the last layer, a mean for each input.

    As in a network of `step_indicators`, of which only the neurons that are on are followed:
    u = (1/S + chi) X - chi M, with X what comes over used entries and M all that is sent.
    """
    L, T, S = tables.shape
    rows = [
        csr_array((np.ones(T * S), table.ravel(), np.arange(0, T * S + 1, S)), shape=(T, n))
        for table in tables
    ]
    s = csr_array(sum(rows[0][k] for k in active.T)).sign()
    for before, here in pairwise(rows):
        used = before.T.tocsr() @ here
        used.data[:] = 1
        brought = before.sum(0) @ (used @ here.sum(0)) - T * S**2  # 5.24: see balanced_chi
        chi = brought / (S * (T * (T - 1) * S**2 - brought))
        sent = s.sum(1)
        s = csr_array(s @ used)
        u = (1 / S + chi) * s.data - chi * np.repeat(sent, np.diff(s.indptr))
        s.data = np.clip(gain * (u - threshold) + 0.5, 0, 1)
        s.eliminate_zeros()
    alpha = [rows[-1][k].multiply(s).sum(1) / S for k in active.T]
    return np.square(np.array(alpha) - 1).mean(0)


def dealt_errors(
    T: int, line: Line, samples: int, rng: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """The same for a network of its own and random inputs."""
    D, S, z, name, gain, threshold, L = line
    table = ALLOCATIONS[name](T=T, n=D // 4, S=S)
    tables = np.array([rng.permutation(table) for _ in range(L)])
    active = np.array([rng.choice(T, z, replace=False) for _ in range(samples)])
    return active_errors(tables, active, n=D // 4, gain=gain, threshold=threshold)


def inside(T: float, line: Line) -> int:
    """The nearest number of circuits that can be placed and leaves some inactive."""
    D, S, z, name, *_ = line
    return round(float(np.clip(T, D / 4 / S + z, CAPACITIES[name](n=D // 4, S=S))))


def settled(log_error: Callable[[int], float], line: Line) -> int:
    """The T at which a log error, relative to the critical, is about 0: secants in log T."""
    D, _, z, *_, L = line
    low = inside(360 * (D / 1000) ** 1.6 / z**0.6 * {3: 1.6, 4: 1.2}.get(L, 1), line)
    at_low = log_error(low)
    T = inside(low * np.exp(np.clip(-at_low / 8, -0.5, 0.5)), line)
    for _ in range(8):
        at_T = log_error(T)
        if abs(at_T) < 0.02 or T == low:
            break
        slope = max((at_T - at_low) / np.log(T / low), 3)
        low, at_low = T, at_T
        T = inside(T * np.exp(np.clip(-at_T / slope, -0.4, 0.4)), line)
    return T


def critical_theory(line: Line) -> int:
    """The T at which density evolution puts the active indicators' error in layer L at MSE."""
    D, S, z, name, gain, threshold, L = line

    def log_error(T: int) -> float:
        table = ALLOCATIONS[name](T=T, n=D // 4, S=S)
        found = cisp.density_evolution(
            T=T, D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
        )
        return float(np.log(found.errors.mse.iloc[-3] / MSE))

    return settled(log_error, line)


def critical_simulated(line: Line, seeds: int, samples: int) -> tuple[float, float]:
    """The same T from On-indicators run alone, and its standard error.

    Jackknifes over networks and over the T simulated, as errors do not grow smoothly with T.
    """

    def log_error(T: int) -> float:
        runs = [dealt_errors(T, line, samples // 2, np.random.default_rng([k, T])) for k in (0, 1)]
        return float(np.log(np.maximum(np.mean(runs) / MSE, 0.01)))

    about = settled(log_error, line)
    Ts = np.unique([inside(T, line) for T in about * AROUND])
    errors = np.empty((seeds, len(Ts)))
    for seed, k in np.ndindex(errors.shape):
        rng = np.random.default_rng([seed, k])
        errors[seed, k] = dealt_errors(int(Ts[k]), line, samples, rng).mean()

    def crossing(networks: list[int], points: list[int]) -> float:
        above = np.log(errors[np.ix_(networks, points)].mean(0) / MSE)
        fit = np.polynomial.Polynomial.fit(above, np.log(Ts[points] / about), 2)
        return float(about * np.exp(fit(0)))

    every = [list(range(size)) for size in errors.shape]
    fewer = [[[j for j in all_of if j != k] for k in all_of] for all_of in every]
    by_network = [crossing(kept, every[1]) for kept in fewer[0]]
    by_T = [crossing(every[0], kept) for kept in fewer[1]]
    variance = (seeds - 1) * np.var(by_network) + (len(Ts) - 1) * np.var(by_T)
    return crossing(*every), float(np.sqrt(variance))


def all_simulated(*, seeds: int, samples: int) -> pd.DataFrame:
    """Simulation of the critical T on all lines, even loads at every L and width among them."""
    lines = [*LINES, *[(D, S, 1, "design", 2, 0.5, L) for D, S, L in DEPTHS]]
    cells = [(line, seeds if line[0] < 64000 else seeds // 2, samples) for line in lines]
    found = in_parts(critical_simulated, cells)
    table = pd.DataFrame(lines, columns=COLUMNS)
    return table.join(pd.DataFrame(found, columns=["T", "T_stderr"]))


def all_predicted() -> pd.DataFrame:
    """Theory of the critical T on the lines of layer 5."""
    found = in_parts(critical_theory, [(line,) for line in LINES])
    return pd.DataFrame(LINES, columns=COLUMNS).assign(predicted=found)


def critical_lines() -> pd.DataFrame:
    """The T at which active indicators of layer L err by 0.01, by simulation."""
    return kept("critical", all_simulated, long="a quarter of an hour", seeds=6, samples=400)


def critical_predicted() -> pd.DataFrame:
    """The same in layer 5 by density evolution."""
    return kept("critical_predicted", all_predicted)
