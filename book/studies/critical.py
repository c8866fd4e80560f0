"""The critical line: the T at which the On-indicators of layer 5 begin to fail."""

import joblib
import numpy as np
import pandas as pd
from kept import kept
from tqdm import tqdm

import cisp
from studies.chosen import ALLOCATIONS

CAPACITIES = {
    "prime steps": cisp.prime_steps_capacity,
    "design": cisp.transversal_design_capacity,
}
LINES = [  # D, S, z, allocation, gain, threshold: where is the critical T?
    *[(D, 6, z, "prime steps", 2, 0.5) for D in (1000, 2000, 4000, 8000, 16000) for z in (1, 2, 4)],
    *[(D, S, 1, "design", 2, 0.5) for D in (1000, 2000, 4000, 8000) for S in (4, 6, 8)],
    *[(1000, S, 1, "prime steps", 2, 0.5) for S in (3, 4, 5)],
    *[(4000, 6, 2, "prime steps", gain, th) for gain, th in ((10, 0.5), (2, 0.6), (4, 0.6))],
]


def critical_theory(
    D: int, S: int, z: int, name: str, gain: float, threshold: float, *, L: int, mse: float
) -> float:
    """The T at which density evolution puts the active indicators' error in layer L at mse."""
    n = D // 4

    def log_mse(T: float) -> float:
        table = ALLOCATIONS[name](T=round(T), n=n, S=S)
        found = cisp.density_evolution(
            T=round(T), D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
        )
        return float(np.log(found.errors.mse.iloc[-3] / mse))

    def inside(T: float) -> float:
        return float(np.clip(T, n / S + z, CAPACITIES[name](n=n, S=S)))

    T = inside(360 * (n / 250) ** 1.6 / z**0.6)  # to begin with
    low = (T, log_mse(T))
    T = inside(T * np.exp(np.clip(-low[1] / 8, -0.5, 0.5)))
    for _ in range(8):
        high = (T, log_mse(T))
        if abs(high[1]) < 0.02 or high[0] == low[0]:
            break
        slope = max((high[1] - low[1]) / np.log(high[0] / low[0]), 3)
        T, low = inside(T * np.exp(np.clip(-high[1] / slope, -0.4, 0.4))), high
    return T


def critical_simulated(
    about: float,
    D: int,
    S: int,
    z: int,
    name: str,
    gain: float,
    threshold: float,
    *,
    L: int,
    mse: float,
    seeds: int,
    samples: int,
) -> tuple[float, float]:
    """The same T from On-indicators run alone, and its standard error (jackknife over networks)."""
    Ts, n = np.round(about * np.array([0.8, 0.9, 1, 1.1, 1.25])).astype(int), D // 4
    Ts = np.unique(Ts.clip(None, CAPACITIES[name](n=n, S=S)))
    errors = np.empty((seeds, len(Ts)))
    for seed in range(seeds):
        for k, T in enumerate(Ts):
            network = cisp.superpose(
                cisp.step_indicators(T=int(T), gain=gain, threshold=threshold),
                D=2 * n,
                S=S,
                L=L,
                rng=np.random.default_rng([seed, k]),
                allocate=ALLOCATIONS[name],
            )
            inputs = np.random.default_rng([seed, k, 1])
            found = cisp.measure(network, z=z, samples=samples, rng=inputs).errors
            last = (found.layer == L) & (found.circuits == "active")
            errors[seed, k] = found.mse[last].item()

    def crossing(kept: np.ndarray) -> float:
        above = np.log(kept.mean(0) / mse)
        fit = np.polynomial.Polynomial.fit(above, np.log(Ts / about), 2)
        return float(about * np.exp(fit(0)))

    left_out = [crossing(np.delete(errors, k, 0)) for k in range(seeds)]
    spread = (seeds - 1) * np.var(left_out)
    return crossing(errors), float(np.sqrt(spread))


def critical_T(*, L: int, mse: float, seeds: int, samples: int) -> pd.DataFrame:
    """Theory and simulation of the critical T on all lines."""

    def one(line: tuple[int, int, int, str, float, float]) -> tuple[float, ...]:
        T = critical_theory(*line, L=L, mse=mse)
        return T, *critical_simulated(T, *line, L=L, mse=mse, seeds=seeds, samples=samples)

    found = joblib.Parallel(n_jobs=2)(joblib.delayed(one)(line) for line in tqdm(LINES))
    columns = ["D", "S", "z", "allocation", "gain", "threshold"]
    return pd.DataFrame(LINES, columns=columns).join(
        pd.DataFrame(found, columns=["predicted", "T", "T_stderr"])
    )


def critical_lines() -> pd.DataFrame:
    """The T at which active indicators of layer 5 err by 0.01, by theory and by simulation."""
    return kept("critical", critical_T, L=5, mse=0.01, seeds=5, samples=500)
