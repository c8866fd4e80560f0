"""Networks fixed before any was simulated: what is measured beside what is predicted."""

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

import cisp
from cisp_book.kept import kept

ALLOCATIONS = {
    "prime steps": cisp.prime_steps,
    "design": cisp.transversal_design,
    "random": cisp.random_subsets,
}
CHOSEN = [  # fixed before any of them was simulated: T, D, S, z, allocation, gain, threshold
    (1000, 900, 3, 1, "prime steps", 2, 0.5),
    (1200, 1200, 3, 3, "prime steps", 2, 0.5),
    (500, 800, 4, 1, "prime steps", 2, 0.5),
    (1000, 1400, 4, 3, "prime steps", 2, 0.5),
    (400, 900, 5, 3, "prime steps", 2, 0.5),
    (900, 1400, 5, 1, "prime steps", 2, 0.5),
    (200, 700, 6, 2, "prime steps", 2, 0.5),
    (1000, 2600, 6, 3, "prime steps", 2, 0.5),
    (2200, 2800, 6, 1, "prime steps", 2, 0.5),
    (250, 1100, 6, 5, "prime steps", 2, 0.5),
    (900, 2200, 6, 5, "prime steps", 2, 0.5),
    (200, 900, 7, 1, "prime steps", 2, 0.5),
    (300, 1200, 7, 3, "prime steps", 2, 0.5),
    (160, 900, 8, 2, "prime steps", 2, 0.5),
    (400, 1500, 8, 2, "prime steps", 2, 0.5),
    (180, 1200, 10, 1, "prime steps", 2, 0.5),
    (600, 900, 4, 3, "design", 2, 0.5),
    (1200, 1400, 5, 2, "design", 2, 0.5),
    (500, 900, 6, 2, "design", 2, 0.5),
    (1200, 2000, 6, 1, "design", 2, 0.5),
    (1800, 2400, 6, 4, "design", 2, 0.5),
    (300, 1000, 8, 2, "design", 2, 0.5),
    (300, 900, 6, 2, "random", 2, 0.5),
    (500, 1000, 6, 1, "prime steps", 4, 0.6),
    (700, 1600, 6, 2, "prime steps", 10, 0.5),
    (1200, 2000, 6, 3, "prime steps", 2, 0.6),
    (800, 1500, 6, 2, "design", 4, 0.5),
]


def one_chosen(cell: int, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """A chosen network, measured and predicted. The indicators alone where the step is another."""
    T, D, S, z, name, gain, threshold = CHOSEN[cell]
    post, n = (gain, threshold) == (2, 0.5), D // 4
    frames = []
    for seed in range(seeds):
        angles, dealing, inputs = np.random.default_rng([cell, seed]).spawn(3)
        circuits = (
            cisp.conditional_rotations(T=T, rng=angles)
            if post
            else cisp.step_indicators(T=T, gain=gain, threshold=threshold)
        )
        network = cisp.superpose(
            circuits,
            D=n * circuits.d,
            S=S,
            L=L,
            rng=dealing,
            allocate=ALLOCATIONS[name],
            max_overlap=S if name == "random" else 1,
        )
        frames.append(cisp.measure(network, z=z, samples=samples, rng=inputs).errors)
    keys = ["layer", "quantity", "circuits"]
    measured = pd.concat(frames).groupby(keys).mse.agg(["mean", "sem"]).reset_index()
    table = ALLOCATIONS[name](T=T, n=n, S=S)
    found = cisp.density_evolution(
        T=T, D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
    )
    both = measured.merge(found.errors.drop(columns="z"), on=keys)
    both = both.rename(columns={"mse": "predicted", "mean": "mse", "sem": "mse_stderr"})
    return both.assign(cell=cell)


def chosen(*, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """All chosen networks."""
    jobs = (joblib.delayed(one_chosen)(k, seeds, samples, L) for k in tqdm(range(len(CHOSEN))))
    return pd.concat(joblib.Parallel(n_jobs=2)(jobs))


def chosen_networks() -> pd.DataFrame:
    """Networks chosen before they were simulated, measured and predicted."""
    return kept("chosen", chosen, seeds=8, samples=500, L=4)
