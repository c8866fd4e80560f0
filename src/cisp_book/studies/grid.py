"""The grid of figures 8 to 11: networks as they run, masked, in layer 1, and predicted."""

import joblib
import pandas as pd
from tqdm import tqdm

import cisp
from cisp_book.kept import finished, kept

PAIRS = {  # the post's 41 pairs: D, then T
    800: (200, 300),
    1000: (200, 300, 400, 500),
    1200: (200, 300, 400, 500, 600, 700),
    1400: (200, 400, 600, 800, 1000),
    1600: (300, 500, 700, 900, 1100, 1300),
    1800: (300, 500, 700, 900, 1100, 1300, 1500, 1700),
    2000: (200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000),
}
RUNS = {"real": cisp.measure, "masked": cisp.measure_masked}


def grid(run: str, *, seeds: int, samples: int, L: int) -> pd.DataFrame:
    """Mean and standard error over networks of every mse on the grid of figures 8 to 11."""
    cells = [
        {"T": T, "D": D, "S": 6, "z": z, "seed": seed}
        for seed in range(seeds)
        for D, Ts in PAIRS.items()
        for T in Ts
        for z in (1, 2, 3, 4)
    ]
    with joblib.parallel_config(n_jobs=2):
        found = cisp.sweep(cells, samples=samples, L=L, run=RUNS[run], memory=finished())
    by = found.groupby(["T", "D", "S", "z", "layer", "quantity", "circuits"], sort=False).mse
    return by.agg(["mean", "sem"]).set_axis(["mse", "mse_stderr"], axis=1).reset_index()


def predictions(*, L: int) -> pd.DataFrame:
    """What density evolution predicts on the grid of figures 8 to 11."""
    cells = [(T, D, z) for D, Ts in PAIRS.items() for T in Ts for z in (1, 2, 3, 4)]

    def one(T: int, D: int, z: int) -> pd.DataFrame:
        found = cisp.density_evolution(T=T, D=D, S=6, z=z, L=L).errors
        return found.assign(T=T, D=D)

    found = joblib.Parallel(n_jobs=2)(joblib.delayed(one)(*cell) for cell in tqdm(cells))
    return pd.concat(found)[["T", "D", "z", "layer", "quantity", "circuits", "mse"]]


def figures_8_to_11() -> pd.DataFrame:
    """The networks as they run: 41 (D, T) pairs, z = 1..4, five layers, 16 networks a cell."""
    return kept(
        "figures_8_to_11", grid, long="three minutes", run="real", seeds=16, samples=500, L=5
    )


def figures_8_to_11_masked() -> pd.DataFrame:
    """The same networks and inputs with every neuron off that belongs to no active circuit."""
    return kept(
        "figures_8_to_11_masked", grid, long="two minutes", run="masked", seeds=16, samples=500, L=5
    )


def first_layer() -> pd.DataFrame:
    """Layer 1 alone, four networks a cell with 20,000 inputs each: small standard errors."""
    return kept("first_layer", grid, long="a minute", run="real", seeds=4, samples=20_000, L=1)


def figures_8_to_11_predicted() -> pd.DataFrame:
    """Density evolution on the grid of figures 8 to 11."""
    return kept("predicted", predictions, L=5)
