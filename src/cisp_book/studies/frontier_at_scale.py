"""How many circuits each embedding carries in wide networks.

mean: the T at which the mean squared error of active vectors reaches 0.1 in some layer, on 1500
inputs, of one network: secants in ln T.
worst: as in `frontier`, the largest T at which no active vector is found as far as 1 from its
truth. What is found occurs, so this T is an upper bound of the true one.
"""

from math import log

import numpy as np
import pandas as pd
import torch

import cisp
from cisp_book.kept import in_parts, kept
from cisp_book.studies.frontier import INPUTS, Make, line, post, tuned

LEAST_OFF = 0.03  # of the logarithm of the mean squared error
AT_4000 = {  # where to look from: T of `frontier`, and a power of D
    ("post", 1): (2562, 1.55),
    ("post", 2): (1302, 1.8),
    ("post", 3): (758, 1.8),
    ("tuned", 1): (8092, 1.6),
    ("tuned", 2): (2741, 1.8),
    ("tuned", 3): (1707, 1.8),
    ("extrinsic", 2): (15918, 2),
    ("extrinsic", 3): (7562, 2),
}


def extrinsic(T: int, D: int, z: int, seed: int, S: int = 6) -> cisp.Network:
    """That of `frontier`, without its check of silence, which would take longer than all else.

    Rows meet at most once and the bias is that of loaded rotations, so nobody wakes.
    """
    circuits = cisp.loaded_rotations(T=T, rng=seed, bias=3)
    table = cisp.transversal_design(T=T, n=D // 4, S=S)
    dealt = torch.from_numpy(table[np.random.default_rng(seed).permutation(T)])
    return cisp.Network(circuits, cisp.Extrinsic(dealt.repeat(circuits.L, 1, 1), n=D // 4))


MAKES: dict[str, Make] = {"post": post, "tuned": tuned, "extrinsic": extrinsic}


def mean_error(name: str, T: int, D: int, z: int, seed: int) -> float:
    """The largest mean squared error of active vectors in a layer."""
    network = MAKES[name](T, D, z, seed)
    first = 2 if name == "extrinsic" else 1  # loaded circuits' read-outs mean nothing in layer 1
    found = cisp.measure(network, z=z, samples=INPUTS, rng=seed, progress=False).errors
    found = cisp.rows(found, quantity="rotation", circuits="active")
    return float(found.mse[found.layer >= first].max())


def mean_line(name: str, D: int, z: int, seed: int) -> float:
    """The T of "mean": of the last two looked at, where a line through them crosses."""
    start, power = AT_4000[name, z]
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


MEANS = [  # embedding, D, z, seed: as far as an hour allows
    *[(name, D, z, 0) for name, z in AT_4000 for D in (8000, 16000) if D == 8000 or z > 1],
    ("extrinsic", 32000, 2, 0),
]
WORST = [(make, 8000, 2, "worst") for make in (post, tuned)]


def all_points() -> pd.DataFrame:
    """The table: embedding, D, z, criterion, T."""
    columns = ["embedding", "D", "z", "seed"]
    means = pd.DataFrame(MEANS, columns=columns).assign(T=in_parts(mean_line, MEANS))
    worsts = [
        (make.__name__, D, z, T)
        for (make, D, z, _), (T, _) in zip(WORST, in_parts(line, WORST), strict=True)
    ]
    worst = pd.DataFrame(worsts, columns=["embedding", "D", "z", "T"])
    table = pd.concat([means.assign(criterion="mean"), worst.assign(criterion="worst")])
    return table[["embedding", "D", "z", "criterion", "T"]]


def frontier_at_scale() -> pd.DataFrame:
    """The largest T of the post's, the tuned and the extrinsic network to D = 32,000."""
    return kept("frontier_at_scale", all_points, long="half an hour")
