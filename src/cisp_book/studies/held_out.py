"""Configurations drawn inside density evolution's domain and not looked at while it was made."""

from functools import cache

import numpy as np
import pandas as pd

import cisp
from cisp.allocation import Table
from cisp.theory.evolution.domain import check_domain
from cisp_book.kept import in_parts, kept
from cisp_book.studies.chosen import ALLOCATIONS

DRAWN, SEED = 34, 20261206  # fixed before any of them was simulated
KINDS = ("prime steps", "design", "design", "prime steps", "random")
STEPS = (*[(2, 0.5)] * 4, (4, 0.6), (10, 0.5), (2, 0.6))  # gain, threshold: the post's most often
Configuration = tuple[str, int, int, int, int, int, float | int, float | int]
COLUMNS = ["allocation", "T", "D", "S", "z", "L", "gain", "threshold"]
KEYS = ["layer", "quantity", "circuits"]


def rows_of(kind: str, T: int, n: int, S: int) -> Table:
    """The rows whose loads a prediction is given."""
    if kind == "random":
        return cisp.random_subsets(T=T, n=n, S=S, rng=0)
    return ALLOCATIONS[kind](T=T, n=n, S=S)


def drawn(rng: np.random.Generator) -> Configuration:
    """A configuration with T from half to twice of where networks seize; every third design full.

    May lie outside of the domain.
    """
    kind = str(rng.choice(KINDS))
    S, z = int(rng.integers(3, 10)), int(rng.integers(1, 7))
    n = int(np.exp(rng.uniform(np.log(60), np.log(900))))
    L = int(rng.choice([4, 5, 5, 10]))
    gain, threshold = STEPS[rng.integers(len(STEPS))]
    seizes = 360 * (n / 250) ** 1.6 / z**0.6 * (1 if kind == "prime steps" else 1.5)  # about
    T = int(seizes * np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
    if kind == "prime steps":
        T = min(T, cisp.prime_steps_capacity(n=n, S=S))
    elif kind == "design":
        most = cisp.transversal_design_capacity(n=n, S=S)
        T = min(int(most * rng.uniform(0.8, 1)) if rng.random() < 0.35 else T, most)
    return kind, T, 4 * n, S, z, L, gain, threshold


def claimed(configuration: Configuration) -> bool:
    """Whether density evolution claims to hold there."""
    kind, T, D, S, z, L, *_ = configuration
    if T < 100:
        return False
    try:
        check_domain(T=T, n=D / 4, S=S, z=z, L=L, table=rows_of(kind, T, D // 4, S))
    except ValueError:
        return False
    return True


@cache
def configurations() -> list[Configuration]:
    """All configurations: the first that are claimed."""
    rng, found = np.random.default_rng(SEED), list[Configuration]()
    while len(found) < DRAWN:
        if claimed(one := drawn(rng)):
            found.append(one)
    return found


def one_held_out(number: int, networks: int, samples: int) -> pd.DataFrame:
    """A configuration, measured (mean and standard error over networks) and predicted."""
    kind, T, D, S, z, L, gain, threshold = configurations()[number]
    frames = []
    for seed in range(networks):
        angles, dealing, inputs = np.random.default_rng([seed, T, D]).spawn(3)
        network = cisp.superpose(
            cisp.conditional_rotations(T=T, gain=gain, threshold=threshold, rng=angles),
            D=D,
            S=S,
            L=L,
            rng=dealing,
            allocate=ALLOCATIONS[kind],
            max_overlap=S if kind == "random" else 1,
        )
        run = cisp.measure(network, z=z, samples=samples, rng=inputs, progress=False)
        frames.append(run.errors)
    measured = pd.concat(frames).groupby(KEYS).mse.agg(["mean", "sem"]).reset_index()
    measured = measured.rename(columns={"mean": "mse", "sem": "mse_stderr"})
    table = rows_of(kind, T, D // 4, S)
    found = cisp.density_evolution(
        T=T, D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
    ).errors.rename(columns={"mse": "predicted"})[[*KEYS, "predicted", "off"]]
    of = dict(zip(COLUMNS, configurations()[number], strict=True))
    return measured.merge(found, on=KEYS).assign(**of)[[*COLUMNS, *measured, "predicted", "off"]]


def all_held_out(*, networks: int, samples: int) -> pd.DataFrame:
    """All configurations."""
    cells = [(number, networks, samples) for number in range(DRAWN)]
    return pd.concat(in_parts(one_held_out, cells))


def held_out() -> pd.DataFrame:
    """The configurations held out, measured and predicted: a row of each layer and error."""
    return kept("held_out", all_held_out, long="five minutes", networks=12, samples=500)
