"""All pairs of 16 bits by one-layer networks: trained, and with the first layer random and frozen.

All 697 inputs with at most three bits on, at every step. Three seeds.
"""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cisp.neighbours import pairs
from cisp_book.kept import finished, kept

BITS, ON, SEEDS = 16, (0, 1, 2, 3), (0, 1, 2)
WIDTHS = (8, 16, 32, 64, 128, 256)
BALANCED = 45  # so that the few pairs that are on weigh as much as all others
CELLS = [
    *((gate, D, still, 2, 1) for gate in ("AND", "XOR") for D in WIDTHS for still in (False, True)),
    *(
        ("AND", D, still, power, weight)
        for D in (32, 64)
        for still in (False, True)
        for power, weight in ((4, 1), (2, BALANCED), (4, BALANCED), (8, BALANCED))
    ),
]


def all_inputs(gate: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs and what is wanted of every pair, float32."""
    x = pairs.sparse_inputs(BITS, ON)
    return torch.from_numpy(x).float(), torch.from_numpy(pairs.targets(x, gate)).float()


def errors_of(net: pairs.Layers, gate: str) -> pd.DataFrame:
    """The errors of each seed: root mean square, largest, of what is on, and how many are large."""
    x, y = all_inputs(gate)
    with torch.no_grad():
        e = (net(x) - y).abs().double()
    found = {
        "rms": e.square().mean((1, 2)).sqrt(),
        "worst": e.amax((1, 2)),
        "rms where on": e[:, y == 1].square().mean(1).sqrt(),
        "rms where off": e[:, y == 0].square().mean(1).sqrt(),
        "above 1/4": (e > 0.25).double().mean((1, 2)),
        "above 1/2": (e > 0.5).double().mean((1, 2)),
    }
    return pd.DataFrame({name: value.numpy() for name, value in found.items()})


def fitted(gate: str, D: int, frozen: bool, power: int, weight: int, steps: int) -> pd.DataFrame:
    """One kind of network, trained from every seed."""
    x, y = all_inputs(gate)
    how = {"power": power, "weight": weight, "steps": steps}
    *_, net = pairs.train(x, y, D=D, seeds=SEEDS, frozen=frozen, **how)
    keys = {"gate": gate, "D": D, "frozen": frozen, "power": power, "weight": weight}
    return errors_of(net, gate).assign(**keys, seed=SEEDS)


def all_fitted(steps: int) -> pd.DataFrame:
    """Every cell; those finished before are found again."""
    run = finished().cache(fitted)
    return pd.concat([run(*cell, steps) for cell in tqdm(CELLS)])


def drawn_errors(*, bits: int, on: int, widths: tuple[int, ...], seeds: int) -> pd.DataFrame:
    """Errors of AND read by signs, every pair, 2000 sets of `on` bits; by width and seed."""
    rng = np.random.default_rng(0)
    x = np.zeros((2000, bits))
    for row in x:
        row[rng.choice(bits, on, replace=False)] = 1
    y, r, rows = pairs.targets(x, "AND"), pairs.free_parameters(pairs.GATES["AND"], on - 2), []
    for D in tqdm(widths):
        for seed in range(seeds):
            W = pairs.gaussian(D=D, m=bits, rng=np.random.default_rng([D, seed]))
            e = np.maximum(x @ W.T, 0) @ pairs.read_offs(W, r).T - y
            far = {"mean": abs(e).mean(), "rms": (e**2).mean() ** 0.5, "worst": abs(e).max()}
            rows.append({"D": D, "seed": seed, **far})
    return pd.DataFrame(rows)


def pairs_trained() -> pd.DataFrame:
    """Trained and frozen layers by gate, width and loss."""
    return kept("pairs_trained", all_fitted, long="eight minutes", steps=1000)


def pairs_drawn() -> pd.DataFrame:
    """Errors of the sign read-off by width."""
    widths = (250, 500, 1000, 2000, 4000, 8000)
    return kept("pairs_drawn", drawn_errors, long="a minute", bits=30, on=3, widths=widths, seeds=5)
