"""Seconds of one prediction, four layers on one core: medians of three, as T and D grow."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded

from statistics import median
from time import perf_counter

import cisp

SIZES = [  # T, D, z; T (d/D)^2 is 0.004 but for the last
    (250, 1000, 1),
    (250, 1000, 4),
    (1000, 2000, 1),
    (4000, 4000, 1),
    (16000, 8000, 1),
    (64000, 16000, 1),
    (64000, 16000, 4),
    (1000, 16000, 1),
]
ROUNDS = 3


def seconds(T: int, D: int, z: int) -> float:
    """One prediction, the making of its table not counted."""
    table = cisp.prime_steps(T=T, n=D // 4, S=6)
    begun = perf_counter()
    cisp.density_evolution(T=T, D=D, S=6, z=z, L=4, table=table)
    return perf_counter() - begun


def main() -> None:
    """Print the table; a round goes through all sizes, so that a busy moment hits all alike."""
    seconds(*SIZES[0])  # loads what is loaded once
    rounds = [[seconds(*size) for size in SIZES] for _ in range(ROUNDS)]
    times = [median(column) for column in zip(*rounds, strict=True)]
    print(f"{'T':>6} {'D':>6} {'z':>2} {'seconds':>8} {'ratio':>6}")
    for (T, D, z), time in zip(SIZES, times, strict=True):
        print(f"{T:6d} {D:6d} {z:2d} {time:8.2f} {time / min(times):6.2f}")


if __name__ == "__main__":
    main()
