"""All pairs of active circuits through ten layers: the largest error, and the time it takes.

python benchmarks/exact.py          605 circuits in a width of 996, a few minutes on two cores
python benchmarks/exact.py T D      others
"""

import sys
from time import perf_counter

import numpy as np
import torch

import cisp


def main(T: int, D: int, L: int = 10) -> None:
    """Print what every pair gives, with an angle of its own for every circuit and layer."""
    theta = np.random.default_rng(0).uniform(0, 2 * np.pi, (L, T))
    circuits = cisp.conditional_rotations(theta=theta, dtype=torch.float64)
    network = cisp.superpose_exact(circuits, D=D, z=2)
    begun = perf_counter()
    found = cisp.measure(network, z=2, samples="all").errors
    spent = perf_counter() - begun
    largest = found.groupby("circuits").worst.max()
    print(f"T = {T}, D = {network.D}, {L} layers, {found.samples.iloc[0]} pairs: {spent:.0f} s")
    print(f"largest error, active {largest['active']:.1e}, inactive {largest['inactive']:.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ("605", "996")))
