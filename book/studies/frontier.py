"""How many circuits each embedding carries.

The largest T, on a grid of steps of 7 %, at which three networks keep a criterion through five
rotations, on 1500 inputs each (at z = 1 on every circuit):

worst: every active vector found is closer than 1 to its truth, the baseline;
mean:  the mean squared error is below 0.1.
"""

from collections.abc import Callable
from functools import cache
from math import log

import pandas as pd
import torch
from kept import kept
from tqdm import tqdm

import cisp

INPUTS, SEEDS, STEP = 1500, range(3), 1.07
WIDTHS = (1000, 2000, 4000)
Make = Callable[[int, int, int, int], cisp.Network]  # T, D, z, seed


def post(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """The post's own network."""
    return cisp.superpose(cisp.conditional_rotations(T=T, rng=seed), D=D, S=6, rng=seed)


def tuned(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """The post's frame with an even load and the best gain, threshold, chi and bias found."""
    S, gain, threshold, chi_on, bias = (4, 8, 0.875, 0, 2) if z == 1 else (3, 6, 0.83, 0.5, 0.5)
    circuits = cisp.conditional_rotations(T=T, rng=seed, bias=bias, gain=gain, threshold=threshold)
    plain = cisp.superpose(circuits, D=D, S=S, rng=seed, allocate=cisp.transversal_design)
    chi = plain.chi.unsqueeze(1) * torch.tensor([chi_on, chi_on, 1, 1])
    return cisp.Network(circuits, cisp.Dealt(plain.tables, chi, n=plain.n), plain.w_mean)


def extrinsic(T: int, D: int, z: int, seed: int, S: int = 6) -> cisp.Network:
    """Same positions at every layer, identity, extrinsic read, loaded without a fault."""
    circuits = cisp.loaded_rotations(T=T, rng=seed, bias=3)
    return cisp.superpose_extrinsic(circuits, D=D, S=S, rng=seed)


def extrinsic_12(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """The same with more redundancy, which the worst case wants."""
    return extrinsic(T, D, z, seed, S=12)


RUNS: dict[Make, tuple[tuple[str, ...], tuple[int, ...]]] = {  # criteria and z
    post: (("worst", "mean"), (1, 2, 3)),
    tuned: (("worst", "mean"), (1, 2, 3)),
    extrinsic: (("mean",), (2, 3)),  # exact at z = 1
    extrinsic_12: (("worst",), (2, 3)),
}


def holds(make: Make, T: int, D: int, z: int) -> dict[str, bool]:
    """Whether all seeds keep the worst-case and the mean criterion."""
    worst, mse = 0.0, 0.0
    for seed in SEEDS:
        network = make(T, D, z, seed)
        samples = None if z == 1 else INPUTS
        found = cisp.measure(network, z=z, samples=samples, rng=seed, progress=False).errors
        found = found.query("quantity == 'rotation' and circuits == 'active'")
        if make in (extrinsic, extrinsic_12):  # the read-out is not meant for their layer 1
            found = found.query("layer > 1")
        worst, mse = max(worst, found.worst.max()), max(mse, found.mse.max())
        if worst >= 1 and mse >= 0.1:
            break
    return {"worst": worst < 1, "mean": mse < 0.1}


@cache
def check(make: Make, exponent: int, D: int, z: int) -> dict[str, bool]:
    """`holds` at a point of the grid; what cannot be placed does not hold."""
    try:
        return holds(make, round(STEP**exponent), D, z)
    except ValueError as error:
        if "exceeds" not in str(error):
            raise
        return {"worst": False, "mean": False}


def largest(make: Make, D: int, z: int, criterion: str) -> int:
    """The largest T of the grid that keeps the criterion, by steps of 7 and then bisection."""
    low = int(log(D / 4 / 12) / log(STEP))  # side by side: nothing is shared
    step = 7
    while check(make, low + step, D, z)[criterion]:
        low += step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if check(make, middle, D, z)[criterion] else (low, middle)
    return round(STEP**low)


def all_lines() -> pd.DataFrame:
    """The table: embedding, D, z, criterion and T."""
    cells = [
        (make, D, z, criterion)
        for make, (criteria, zs) in RUNS.items()
        for D in WIDTHS
        for z in zs
        for criterion in criteria
    ]
    rows = [(cell[0].__name__, *cell[1:], largest(*cell)) for cell in tqdm(cells)]
    return pd.DataFrame(rows, columns=["embedding", "D", "z", "criterion", "T"])


def frontier() -> pd.DataFrame:
    """The largest T of each embedding, D, z and criterion; a quarter of an hour."""
    return kept("frontier", all_lines)
