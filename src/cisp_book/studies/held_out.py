"""Configurations drawn inside density evolution's domain and not looked at while it was made."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
import torch

import cisp
from cisp.allocation import Table
from cisp.theory.evolution.domain import check_domain
from cisp_book.kept import in_parts, kept
from cisp_book.studies.chosen import ALLOCATIONS

DRAWN, SEED = 34, 20261210  # fixed before any of them was simulated
KINDS = ("prime steps", "design", "design", "prime steps", "random")
STEPS = (*[(2, 0.5)] * 4, (4, 0.6), (10, 0.5), (2, 0.6))  # gain, threshold: the post's most often
Configuration = tuple[str, int, int, int, int, int, float | int, float | int]
NETWORKS, INPUTS = 120, 100  # networks differ by more than inputs do
LEVELS = (0.25, 0.375, 0.5, 0.75)  # of read-outs, whose tails are counted
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


def networks_of(
    configuration: Configuration, networks: int
) -> Iterator[tuple[cisp.Network, np.random.Generator]]:
    """So many networks, and what draws their inputs."""
    kind, T, D, S, _, L, gain, threshold = configuration
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
        yield network, inputs


def foretold(configuration: Configuration) -> cisp.DensityEvolution:
    """The prediction."""
    kind, T, D, S, z, L, gain, threshold = configuration
    table = rows_of(kind, T, D // 4, S)
    return cisp.density_evolution(
        T=T, D=D, S=S, z=z, L=L, table=table, gain=gain, threshold=threshold
    )


def over_networks(frames: list[pd.DataFrame], keys: list[str], name: str) -> pd.DataFrame:
    """The mean over networks, and its standard error."""
    found = pd.concat(frames).groupby(keys)[name].agg(["mean", "sem"]).reset_index()
    return found.rename(columns={"mean": name, "sem": f"{name}_stderr"})


def one_held_out(number: int, networks: int, samples: int) -> pd.DataFrame:
    """A configuration, measured and predicted."""
    configuration = configurations()[number]
    _, _, _, _, z, *_ = configuration
    frames = [
        cisp.measure(network, z=z, samples=samples, rng=inputs, progress=False).errors
        for network, inputs in networks_of(configuration, networks)
    ]
    measured = over_networks(frames, KEYS, "mse")
    found = foretold(configuration).errors.rename(columns={"mse": "predicted"})
    found = measured.merge(found[[*KEYS, "predicted", "off"]], on=KEYS)
    of = dict(zip(COLUMNS, configuration, strict=True))
    return found.assign(**of)[[*COLUMNS, *measured, "predicted", "off"]]


def readouts_above(
    network: cisp.Network, z: int, samples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """The share of inactive circuits' On-indicators above each level, from layer 2 on."""
    active, A0 = network.sample(batch=samples, z=z, rng=rng)
    A, rows = network(network.embed(A0, active)), []
    others = torch.ones(samples, network.T, dtype=torch.bool).scatter(1, active, False)
    for layer in range(2, network.L + 1):
        read = network.circuits.quantities(network.readout(A[layer], layer))["indicator"][..., 0]
        rows += [
            (layer, level, float((read[others] > level + 1e-6).double().mean())) for level in LEVELS
        ]
    return pd.DataFrame(rows, columns=["layer", "level", "above"])


def one_tail(number: int, networks: int, samples: int) -> pd.DataFrame:
    """A configuration's read-outs above each level, measured and predicted."""
    configuration, found = configurations()[number], foretold(configurations()[number])
    _, _, _, _, z, *_ = configuration
    frames = [
        readouts_above(network, z, samples, inputs)
        for network, inputs in networks_of(configuration, networks)
    ]
    measured = over_networks(frames, ["layer", "level"], "above")
    predicted = [found.tail(row.level, layer=row.layer) for row in measured.itertuples()]
    of = dict(zip(COLUMNS, configuration, strict=True))
    measured = measured.assign(predicted=predicted, **of)
    return measured[[*COLUMNS, *measured.columns[: -len(COLUMNS)]]]


def all_held_out(*, networks: int, samples: int) -> pd.DataFrame:
    """All configurations."""
    cells = [(number, networks, samples) for number in range(DRAWN)]
    return pd.concat(in_parts(one_held_out, cells))


def all_tails(*, networks: int, samples: int) -> pd.DataFrame:
    """All configurations' read-outs above each level."""
    cells = [(number, networks, samples) for number in range(DRAWN)]
    return pd.concat(in_parts(one_tail, cells))


def held_out() -> pd.DataFrame:
    """The configurations held out, measured and predicted: a row of each layer and error."""
    return kept("held_out", all_held_out, long="five minutes", networks=NETWORKS, samples=INPUTS)


def held_out_tails() -> pd.DataFrame:
    """Their inactive circuits' read-outs above each level, from layer 2 on."""
    return kept("held_out_tails", all_tails, long="three minutes", networks=40, samples=INPUTS)


def of_these(found: pd.DataFrame) -> str:
    """What configurations some rows are of, in words."""
    sizes = (f"{name}={found[name].min()} to {found[name].max()}" for name in "TDSz")
    kinds = f"{DRAWN} configurations drawn in the domain: prime steps, designs, random rows"
    return f"{kinds}, {', '.join(sizes)}, z S <= n/4"
