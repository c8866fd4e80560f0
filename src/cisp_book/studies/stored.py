"""The width that Boolean features need to come through layers, cleaned in each."""

import pandas as pd
import torch

import cisp
from cisp_book.kept import in_parts, kept

SIZES = (250, 500, 1000, 2000, 4000)  # T
ROUNDING = 1e-4  # two of four positions on is a tie, and not above 1/2
SAMPLES, SEEDS, GROWN = 100, range(3), 1.05  # the width is tried on a grid of steps of 5 %


def share_right(network: cisp.Network, *, z: int, seed: int) -> float:
    """The share of inputs with every indicator of the last layer on the right side of 1/2."""
    active, a0 = network.sample(batch=SAMPLES, z=z, rng=seed)
    with torch.no_grad():
        A = network(network.embed(a0, active))
    found = cisp.estimates(network, A, network.L)["indicator"][..., 0] > 0.5 + ROUNDING
    return (found == cisp.is_active(active, T=network.T)).all(1).double().mean().item()


def carried(T: int, D: int, z: int, L: int, S: int, seed: int, in_place: bool) -> float:
    """The share read right after L layers of steps on a transversal design, 0 where none fits."""
    circuits = cisp.step_indicators(T=T, gain=4, threshold=0.75)
    if cisp.transversal_design_capacity(n=D // 2, S=S) < T:
        return 0.0
    if in_place:
        network = cisp.superpose_extrinsic(circuits, D=D, S=S, L=L, rng=seed)
    else:
        design = cisp.transversal_design
        network = cisp.superpose(circuits, D=D, S=S, L=L, rng=seed, allocate=design)
    return share_right(network, z=z, seed=seed)


def width(T: int, z: int, L: int, S: int, in_place: bool) -> pd.DataFrame:
    """The least D on the grid at which half of the inputs are right, mean of three networks."""
    low, high = 0, 1
    tried: dict[int, list[float]] = {}

    def holds(step: int) -> bool:
        D = 2 * round(20 * GROWN**step)
        tried[step] = [carried(T, D, z, L, S, seed, in_place) for seed in SEEDS]
        return sum(tried[step]) / len(SEEDS) >= 0.5

    while not holds(high):
        low, high = high, high + 16
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    row = {"T": T, "z": z, "L": L, "S": S, "in place": in_place, "D": 2 * round(20 * GROWN**high)}
    return pd.DataFrame([{**row, "least": min(tried[high]), "most": max(tried[high])}])


def widths(*, z: int, layers: tuple[int, ...], S: int) -> pd.DataFrame:
    """Of every number of features, through few and many layers, in place and dealt anew in each."""
    cells = [(T, z, L, S, place) for T in SIZES for L in layers for place in (True, False)]
    return pd.concat(in_parts(width, cells))


def stored_widths() -> pd.DataFrame:
    """The width that two active features of T need through 4 and 16 layers."""
    return kept("stored_widths", widths, z=2, layers=(4, 16), S=4)
