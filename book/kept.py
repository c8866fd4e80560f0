"""Sweeps that more than one chapter reads, kept as tables for as long as their code stands."""

import ast
from collections.abc import Callable
from hashlib import sha256
from inspect import getsource
from pathlib import Path

import joblib
import pandas as pd

import cisp

DATA = Path(__file__).parent / "data"
MEASURING = ("arguments", "allocation", "circuits", "network", "readout", "experiment")
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
        found = cisp.sweep(cells, samples=samples, L=L, run=RUNS[run])
    by = found.groupby(["T", "D", "S", "z", "layer", "quantity", "circuits"], sort=False).mse
    return by.agg(["mean", "sem"]).set_axis(["mse", "mse_stderr"], axis=1).reset_index()


def kept(name: str, make: Callable[..., pd.DataFrame] = grid, **parameters: object) -> pd.DataFrame:
    """make(**parameters), from data/name.csv if that has the same code and parameters behind it."""
    path = DATA / f"{name}.csv"
    key = f"# {fingerprint(make)} {parameters}"
    if not path.exists() or path.read_text().partition("\n")[0] != key:
        table = make(**parameters)
        path.write_text(key + "\n" + table.to_csv(index=False, float_format="%.6g"))
    return pd.read_csv(path, comment="#")


def fingerprint(make: Callable[..., object]) -> str:
    """A digest of the code that measures, its comments and layout left out."""
    rooms = [(Path(cisp.__file__).parent / f"{room}.py").read_text() for room in MEASURING]
    trees = [ast.dump(ast.parse(text)) for text in (*rooms, getsource(make))]
    return sha256("".join(trees).encode()).hexdigest()[:16]


def figures_8_to_11() -> pd.DataFrame:
    """The networks as they run: 41 (D, T) pairs, z = 1..4, five layers, 16 networks a cell."""
    return kept("figures_8_to_11", run="real", seeds=16, samples=500, L=5)


def figures_8_to_11_masked() -> pd.DataFrame:
    """The same networks and inputs with every neuron off that belongs to no active circuit."""
    return kept("figures_8_to_11_masked", run="masked", seeds=16, samples=500, L=5)


def first_layer() -> pd.DataFrame:
    """Layer 1 alone, four networks a cell with 20,000 inputs each: small standard errors."""
    return kept("first_layer", run="real", seeds=4, samples=20_000, L=1)


if __name__ == "__main__":
    for make in (first_layer, figures_8_to_11, figures_8_to_11_masked):
        print(make.__name__, len(make()), "rows")
