"""How many circuits each embedding carries.

The largest T, on a grid of steps of 7 %, at which three networks keep a criterion through five
rotations:

worst: no active vector is found as far as 1, the baseline, from its truth: not in any set of z
    circuits ("every circuit", "all pairs", "all triples") or, where these are more than half a
    million, not in 50,000 drawn at random ("search"); in either case the 100 worst sets exchange
    circuits for worse ones, and inputs are moved to where the error is largest (`cisp.worst_case`);
mean: the mean squared error is below 0.1, on 1500 inputs ("sample"), at z = 1 on every circuit.

Of the exact embedding the largest T is what it can place, if it is measured to be exact there.
"""

from collections.abc import Callable
from functools import cache
from math import comb, log

import pandas as pd
import torch

import cisp
from cisp_book.kept import in_parts, kept

INPUTS, SEEDS, STEP = 1500, range(3), 1.07
WIDTHS = (1000, 2000, 4000)
EVERY = 500_000  # up to how many sets are all run
SEARCHED, DRAWN = 5000, 50_000  # sets drawn in a search: on the way, and at the end
ROUNDING = 1e-3  # single precision leaves 1e-5 in an exact network
Make = Callable[[int, int, int, int], cisp.Network]  # T, D, z, seed

NAMES = {1: "every circuit", 2: "all pairs", 3: "all triples"}
REDUNDANCY = {2: {1000: 14, 2000: 16, 4000: 16}, 3: {1000: 13, 2000: 21, 4000: 21}}  # z, D


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


def redundant(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """The same with more redundancy, which the worst case wants: the best found for it."""
    return extrinsic(T, D, z, seed, S=REDUNDANCY[z][D])


def exact(T: int, D: int, z: int, seed: int) -> cisp.Network:
    """Every set of z circuits exactly, on positions that count who is on."""
    return cisp.superpose_exact(cisp.conditional_rotations(T=T, rng=seed), D=D, z=z, rng=seed)


RUNS: dict[Make, tuple[tuple[str, ...], tuple[int, ...]]] = {  # criteria and z
    post: (("worst", "mean"), (1, 2, 3)),
    tuned: (("worst", "mean"), (1, 2, 3)),
    extrinsic: (("mean",), (2, 3)),  # exact at z = 1
    redundant: (("worst",), (2, 3)),
    exact: (("worst",), (2, 3)),  # without an error, so in the mean as well
}


def first_layer(make: Make) -> int:
    """The first layer whose read-outs count: those of loaded circuits mean nothing in layer 1."""
    return 2 if make in (extrinsic, redundant) else 1


def mean_holds(network: cisp.Network, z: int, seed: int, first: int) -> bool:
    """Whether the mean squared error of active vectors stays below 0.1."""
    samples = None if z == 1 else INPUTS
    found = cisp.measure(network, z=z, samples=samples, rng=seed, progress=False).errors
    found = cisp.rows(found, quantity="rotation", circuits="active")
    return bool(found.mse[found.layer >= first].max() < 0.1)


def worst_holds(network: cisp.Network, z: int, seed: int, first: int, sets: int) -> bool:
    """Whether no active vector is found as far as 1 from its truth, among every set or so many."""
    found = cisp.worst_case(
        network,
        z=z,
        samples="all" if comb(network.T, z) <= sets else min(sets, DRAWN),
        first=first,
        keep=100,
        swaps=300,
        starts=3,
        steps=20,
        enough=1,
        rng=seed,
        progress=False,
    )
    return found.error < 1


@cache
def check(make: Make, exponent: int, D: int, z: int, criterion: str, sets: int = EVERY) -> bool:
    """Whether all seeds keep a criterion at a point of the grid; what cannot be placed does not.

    sets: up to how many sets the worst case is of every set; beyond it is searched for.
    """
    T, first = round(STEP**exponent), first_layer(make)
    for seed in SEEDS:
        try:
            network = make(T, D, z, seed)
        except ValueError as error:
            if "exceeds" not in str(error):
                raise
            return False
        if criterion == "mean":
            holds = mean_holds(network, z, seed, first)
        else:
            holds = worst_holds(network, z, seed, first, sets)
        if not holds:
            return False
    return True


def largest(make: Make, D: int, z: int, criterion: str) -> int:
    """The largest T of the grid that keeps the criterion, by steps of 7 and then bisection.

    On the way the worst case is searched for; at the end, going down, it is of every set.
    """
    low = int(log(D / 4 / 12) / log(STEP))  # side by side: nothing is shared
    step = 7
    while check(make, low + step, D, z, criterion, SEARCHED):
        low += step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        keeps = check(make, middle, D, z, criterion, SEARCHED)
        low, high = (middle, high) if keeps else (low, middle)
    while not check(make, low, D, z, criterion):
        low -= 1
    return round(STEP**low)


def largest_exact(D: int, z: int) -> int:
    """What the exact embedding can place: measured to be exact, in one network for every set."""
    T = cisp.triangle_free_capacity(n=D // (5 if z == 2 else 10), S=z + 1)
    for seed in SEEDS:
        found = cisp.worst_case(
            exact(T, D, z, seed),
            z=z,
            samples="all" if seed == 0 and comb(T, z) <= EVERY else INPUTS,
            keep=20,
            swaps=0,
            starts=1,
            progress=False,
        )
        if found.error > ROUNDING:
            raise RuntimeError(f"an error of {found.error} for {found.active}")
    return T


def line(make: Make, D: int, z: int, criterion: str) -> tuple[int, str]:
    """The largest T, and how it was looked at."""
    T = largest_exact(D, z) if make is exact else largest(make, D, z, criterion)
    if criterion == "mean" and z > 1:
        return T, "sample"
    return T, NAMES[z] if comb(T, z) <= EVERY else "search"


def all_lines() -> pd.DataFrame:
    """The table: embedding, D, z, criterion, T and how."""
    cells = [
        (make, D, z, criterion)
        for make, (criteria, zs) in RUNS.items()
        for D in WIDTHS
        for z in zs
        for criterion in criteria
    ]
    found = in_parts(line, cells)
    rows = [(cell[0].__name__, *cell[1:], *of) for cell, of in zip(cells, found, strict=True)]
    table = pd.DataFrame(rows, columns=["embedding", "D", "z", "criterion", "T", "how"])
    no_error = table[table.embedding == "exact"]
    return pd.concat([table, no_error.assign(criterion="mean")], ignore_index=True)


def frontier() -> pd.DataFrame:
    """The largest T of each embedding, D, z and criterion."""
    return kept("frontier", all_lines, long="half an hour")
