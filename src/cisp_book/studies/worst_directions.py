"""How far the worst input is from the worst of a sample: over pairs of circuits, and directions.

T = 557, D = 1000, two circuits active. Each row looks for the largest error of an active vector in
one more place:

sample: 1500 pairs at random, each with directions at random;
sample, turned: the 50 worst of them, their directions moved to where the error is largest;
sample, exchanged: these also exchange circuits for others that make it larger;
all pairs: every pair, with directions at random;
all pairs, turned: the 50 worst of all pairs, directions moved.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

import cisp
from cisp_book.kept import in_parts, kept
from cisp_book.studies.frontier import Make, extrinsic, first_layer, post, tuned

T, D, SAMPLE = 557, 1000, 1500
STILL: dict[str, Any] = dict(keep=1, starts=1, steps=0, swaps=0)
TURNED: dict[str, Any] = dict(keep=50, starts=3, steps=40, swaps=0)
WAYS: dict[str, tuple[int | Literal["all"], dict[str, Any]]] = {
    "sample": (SAMPLE, STILL),
    "sample, turned": (SAMPLE, TURNED),
    "sample, exchanged": (SAMPLE, {**TURNED, "swaps": 100}),
    "all pairs": ("all", STILL),
    "all pairs, turned": ("all", TURNED),
}


MAKES: dict[str, Make] = {"post": post, "tuned": tuned, "extrinsic": extrinsic}


def found(name: str, seed: int, way: str, draw: int) -> dict[str, object]:
    """The largest error that one way finds in a network, and where."""
    samples, how = WAYS[way]
    make = MAKES[name]
    network, first = make(T, D, 2, seed), first_layer(make)
    worst = cisp.worst_case(
        network, z=2, samples=samples, first=first, rng=draw, progress=False, **how
    )
    one, other = sorted(worst.active.tolist())
    row = {"network": name, "seed": seed, "way": way, "draw": draw, "error": worst.error}
    grid = on_a_grid(network, worst, first) if way == "all pairs, turned" else np.nan
    return row | {"layer": worst.layer, "one": one, "other": other, "grid": grid}


def on_a_grid(network: cisp.Network, worst: cisp.WorstCase, first: int, angles: int = 72) -> float:
    """The largest error of the same pair over a grid of both its directions."""
    turn = torch.arange(angles) * 2 * torch.pi / angles
    u = torch.stack([turn.cos(), turn.sin()], 1)
    a0 = u @ network.input_map.T + network.input_mean
    top = 0.0
    for one in a0:
        both = torch.stack([one.expand_as(a0), a0], 1)
        active = worst.active.expand(angles, 2)
        A, a = network(network.embed(both, active)), network.circuits.run(both, active)
        for layer in range(first, network.L + 1):
            delta = cisp.errors(network, A, a, active, layer)[worst.quantity]
            top = max(top, float(cisp.of_active(delta, active).norm(dim=-1).max()))
    return top


def all_found(*, seeds: int, draws: int) -> pd.DataFrame:
    """Every network and way."""
    cells = [
        (name, seed, way, draw)
        for name in MAKES
        for seed in range(seeds)
        for way in WAYS
        for draw in range(draws)
    ]
    return pd.DataFrame(in_parts(found, cells))


def worst_directions() -> pd.DataFrame:
    """The largest errors found by ever more thorough search; five minutes."""
    return kept("worst_directions", all_found, long="five minutes", seeds=2, draws=1)
