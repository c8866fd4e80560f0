"""How many circuits each embedding carries in wide networks, one network at each point.

mean: the T at which the mean squared error of active vectors reaches 0.1 in some layer, on 1500
inputs: secants in ln T.
worst: the largest T, on a grid of steps of 7 %, at which no active vector is found as far as 1, the
baseline, from its truth. The search is shorter than `frontier`'s, and an error that is found
occurs: so this T is an upper bound of the true one.
"""

from functools import partial
from math import log
from typing import Any

import numpy as np
import pandas as pd
import torch
from kept import in_parts, kept

import cisp
from studies.frontier import INPUTS, STEP, Make, post, tuned

REDUNDANT = {2: 16, 3: 21}  # S by z: the best found up to D = 4000
SEARCH: dict[str, Any] = dict(samples=2000, keep=40, swaps=50, starts=2, steps=10)
LEAST_OFF = 0.03  # of the logarithm of the mean squared error
AT_4000 = {  # where to look from: T found at D = 4000 by `frontier`, and a power of D
    ("post", 1, "mean"): (2562, 1.55),
    ("post", 2, "mean"): (1302, 1.8),
    ("post", 3, "mean"): (758, 1.8),
    ("tuned", 1, "mean"): (8092, 1.6),
    ("tuned", 2, "mean"): (2741, 1.8),
    ("tuned", 3, "mean"): (1707, 1.8),
    ("extrinsic", 2, "mean"): (15918, 2),
    ("extrinsic", 3, "mean"): (7562, 2),
    ("post", 1, "worst"): (2091, 1.5),
    ("post", 2, "worst"): (160, 1),
    ("post", 3, "worst"): (160, 1),
    ("tuned", 1, "worst"): (5039, 1.55),
    ("tuned", 2, "worst"): (315, 1),
    ("tuned", 3, "worst"): (315, 1),
    ("redundant", 2, "worst"): (2741, 1.9),
    ("redundant", 3, "worst"): (505, 1.5),
}


def extrinsic(T: int, D: int, z: int, seed: int, S: int = 6) -> cisp.Network:
    """That of `frontier`, without its check of silence, which would take longer than all else.

    Rows meet at most once and the bias is that of loaded rotations, so nobody wakes.
    """
    circuits = cisp.loaded_rotations(T=T, rng=seed, bias=3)
    table = cisp.transversal_design(T=T, n=D // 4, S=S)
    dealt = torch.from_numpy(table[np.random.default_rng(seed).permutation(T)])
    return cisp.Network(circuits, cisp.Extrinsic(dealt.repeat(circuits.L, 1, 1), n=D // 4))


def redundant(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """The same on more positions, which the worst case wants."""
    return extrinsic(T, D, z, seed, S=REDUNDANT[z])


MAKES: dict[str, Make] = {
    "post": post,
    "tuned": tuned,
    "extrinsic": extrinsic,
    "redundant": redundant,
}


def first_of(name: str) -> int:
    """The first layer whose read-outs count."""
    return 2 if MAKES[name] in (extrinsic, redundant) else 1


def mean_error(name: str, T: int, D: int, z: int, seed: int) -> float:
    """The largest mean squared error of active vectors in a layer."""
    network = MAKES[name](T, D, z, seed)
    found = cisp.measure(network, z=z, samples=INPUTS, rng=seed, progress=False).errors
    found = cisp.rows(found, quantity="rotation", circuits="active")
    return float(found.mse[found.layer >= first_of(name)].max())


def mean_line(name: str, D: int, z: int, seed: int) -> float:
    """The T of "mean": of the last two looked at, where a line through them crosses."""
    start, power = AT_4000[name, z, "mean"]
    x = log(start * (D / 4000) ** power)
    points = list[tuple[float, float]]()
    slope = 1.5
    for _ in range(6):
        y = log(mean_error(name, round(np.exp(x)), D, z, seed) / 0.1)
        points.append((x, y))
        if len(points) > 1:
            (x0, y0), (x1, y1) = points[-2:]
            slope = float(np.clip((y1 - y0) / (x1 - x0), 0.7, 30))
        x -= float(np.clip(y / slope, -0.5, 0.5))
        if abs(y) < LEAST_OFF:
            break
    return float(np.exp(x))


def holds(name: str, D: int, z: int, seed: int, exponent: int) -> bool:
    """Whether no vector is found beyond the baseline; what cannot be placed does not hold."""
    try:
        network = MAKES[name](round(STEP**exponent), D, z, seed)
    except ValueError as error:
        if "exceeds" not in str(error):
            raise
        return False
    found = cisp.worst_case(
        network, z=z, first=first_of(name), enough=1, rng=seed, progress=False, **SEARCH
    )
    return found.error < 1


def worst_line(name: str, D: int, z: int, seed: int) -> float:
    """The T of "worst": from where it is looked for, by steps of two and then one."""
    start, power = AT_4000[name, z, "worst"]
    here = round(log(start * (D / 4000) ** power) / log(STEP))
    check = partial(holds, name, D, z, seed)
    if check(here):
        while check(here + 2):
            here += 2
        return round(STEP ** (here + check(here + 1)))
    while not check(here - 2):
        here -= 2
    return round(STEP ** (here - 2 + check(here - 1)))


SEEDS = {8000: 3, 16000: 2, 32000: 1}  # networks for "mean" by width
WIDTHS: dict[str, dict[int, tuple[int, ...]]] = {  # for "worst": as far as an hour allows
    "post": {1: (4000, 8000, 16000), 2: (4000, 8000, 16000, 32000), 3: (4000, 8000, 16000, 32000)},
    "tuned": {1: (4000, 8000, 16000), 2: (4000, 8000, 16000, 32000), 3: (4000, 8000, 16000, 32000)},
    "redundant": {2: (4000, 8000, 16000), 3: (4000, 8000, 16000)},
}


def all_points() -> pd.DataFrame:
    """The table: embedding, D, z, seed, criterion, T."""
    means = [
        (name, D, z, seed)
        for name, z, criterion in AT_4000
        if criterion == "mean"
        for D, seeds in SEEDS.items()
        for seed in range(seeds)
    ]
    worsts = [(name, D, z, 0) for name, of in WIDTHS.items() for z, Ds in of.items() for D in Ds]
    parts = []
    for criterion, line, cells in (("mean", mean_line, means), ("worst", worst_line, worsts)):
        table = pd.DataFrame(cells, columns=["embedding", "D", "z", "seed"])
        parts.append(table.assign(criterion=criterion, T=in_parts(line, cells)))
    return pd.concat(parts, ignore_index=True)


def frontier_at_scale() -> pd.DataFrame:
    """The largest T of the post's, the tuned and the extrinsic network to D = 32,000."""
    return kept("frontier_at_scale", all_points, long="an hour")
