"""Compiled loops (`cisp.awake`) against ordinary passes and the dense chain, medians in one run.

The ordinary passes are those of commit 18b6047, which the same build still has for little work.

python benchmarks/awake.py sizes    by network and z: time, ratio, circuits met, peak memory
python benchmarks/awake.py dense    T = 557, D = 1000, z = 2 against the bare dense chain
python benchmarks/awake.py figures  all that figures 5 to 7 measure
python benchmarks/awake.py million  a million circuits: minutes
"""

import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

import numpy as np
import torch

import cisp
import cisp.awake

ROUNDS, INPUTS = 15, 16_384
COMPILED, ORDINARY = -1.0, np.inf  # from how much work on loops are compiled

Case = tuple[str, int, int, int, int]  # kind, T, D, S, z
CASES: list[Case] = [
    ("post", 557, 1000, 6, 2),
    ("post", 10_000, 20_000, 6, 1),
    ("post", 10_000, 20_000, 6, 3),
    ("post", 30_000, 40_000, 6, 2),
    ("post", 25_000, 16_000, 6, 1),
    ("extrinsic", 1_681, 1_000, 6, 3),
    ("extrinsic", 20_000, 8_000, 10, 3),
    ("extrinsic", 100_000, 20_000, 14, 3),
]
MILLION: list[Case] = [
    ("post", 1_000_000, 400_000, 6, 1),
    ("extrinsic", 1_000_000, 63_248, 14, 3),
]


def network(kind: str, T: int, D: int, S: int) -> cisp.Network:
    """The post's network, or the extrinsic one with the biases that it needs; float32."""
    circuits = cisp.conditional_rotations(T=T, rng=0)
    if kind == "post":
        return cisp.superpose(circuits, D=D, S=S, L=5, rng=1)
    return cisp.superpose_extrinsic(
        circuits, D=D, S=S, L=5, silence="auto", allocate=cisp.transversal_design
    )


def seconds(network: cisp.Network, z: int, samples: int, worth: float) -> float:
    """One run of `measure`."""
    cisp.awake.WORTH = worth
    start = perf_counter()
    cisp.measure(network, z=z, samples=samples, progress=False)
    return perf_counter() - start


def met(network: cisp.Network, z: int, samples: int = 64) -> float:
    """The share of circuits that read anything but 0, over all layers."""
    active, a0 = network.sample(batch=samples, z=z)
    with torch.no_grad():
        stream = network.stream(network.embed(a0, active).permute(2, 1, 0))
        read = [(gathered != 0).any(1).double().mean() for _, gathered in stream]
    return float(torch.stack(read).mean())


def one(kind: str, T: int, D: int, S: int, z: int, samples: int) -> None:
    """Build one network; print seconds to build, ms an input both ways, circuits met, peak MB.

    On one thread: a lot of inputs is run by one, and ordinary passes take too long for more lots.
    """
    torch.set_num_threads(1)
    start = perf_counter()
    found = network(kind, T, D, S)
    built = perf_counter() - start
    seconds(found, z, 2, COMPILED)  # compiled, or read from where it is kept
    few = max(samples // 16, 16)
    compiled, ordinary = [], []
    for _ in range(5 if T < 10**5 else 3):
        compiled.append(seconds(found, z, samples, COMPILED) / samples * 1e3)
        ordinary.append(seconds(found, z, few, ORDINARY) / few * 1e3)
    share = met(found, z, 16)
    print(built, median(compiled), min(compiled), max(compiled), median(ordinary), share, peak())


def sizes(cases: list[Case], samples: int) -> None:
    """A line for each case, run in a process of its own."""
    print(
        f"{'network':10} {'T':>8} {'D':>7} {'S':>3} {'z':>2} {'build s':>8} {'ordinary ms':>12}",
        end="",
    )
    print(f" {'compiled ms (range)':>26} {'ratio':>7} {'met':>7} {'peak MB':>8}")
    for case in cases:
        words = [sys.executable, __file__, "one", *map(str, case), str(samples)]
        out = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
        kind, T, D, S, z = case
        print(f"{kind:10} {T:8d} {D:7d} {S:3d} {z:2d}", end="")
        if out.returncode:
            print(
                f" stopped: {out.stderr.strip().splitlines()[-1:]} ({out.returncode})", flush=True
            )
            continue
        build, ms, low, high, ordinary, share, memory = map(float, out.stdout.split())
        told = f"{ms:.3f} ({low:.3f} to {high:.3f})"
        print(
            f" {build:8.1f} {ordinary:12.2f} {told:>26} {ordinary / ms:7.1f} {share:7.1%} "
            f"{memory:8.0f}",
            flush=True,
        )


def dense() -> None:
    """`measure` with all read-outs and statistics, against the bare products with dense weights."""
    found = network("post", 557, 1000, 6)
    active, a0 = found.sample(batch=INPUTS, z=2)
    chain, inputs = found.to_dense(), found.embed(a0, active).flatten(1)
    times: dict[str, list[float]] = {"dense chain": [], "ordinary": [], "compiled": []}
    seconds(found, 2, 100, COMPILED)
    with torch.no_grad():
        for _ in range(ROUNDS):
            start = perf_counter()
            for some in inputs.split(1024):
                chain(some)
            times["dense chain"].append(perf_counter() - start)
            times["ordinary"].append(seconds(found, 2, INPUTS, ORDINARY))
            times["compiled"].append(seconds(found, 2, INPUTS, COMPILED))
    base = median(times["dense chain"])
    print(f"T = 557, D = 1000, S = 6, z = 2, {INPUTS} inputs, {ROUNDS} rounds")
    for name, each in times.items():
        low, middle, high = (f(each) / INPUTS * 1e6 for f in (min, median, max))
        spread, ratio = f"({low:.1f} to {high:.1f})", median(each) / base
        print(f"{name:12} {middle:6.1f} us an input {spread}, ratio {ratio:.2f}")


def figures() -> None:
    """Figures 5 to 7: z = 1 to 4 at the post's size, whole and masked."""
    found = network("post", 557, 1000, 6)
    for way, worth in (("ordinary", ORDINARY), ("compiled", COMPILED)) * 4:
        start = perf_counter()
        cisp.awake.WORTH = worth
        for z in range(1, 5):
            for run in (cisp.measure, cisp.measure_masked):
                run(found, z=z, samples=5_570, progress=False)
        print(f"{way:12} {perf_counter() - start:.2f} s")


def peak() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    which, *rest = sys.argv[1:] or ["all"]
    if which == "one":
        one(rest[0], *map(int, rest[1:]))
        sys.exit()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if which in ("sizes", "all"):
        sizes(CASES, 4096)
    if which in ("dense", "all"):
        dense()
    if which in ("figures", "all"):
        figures()
    if which == "million":
        sizes(MILLION, 4096)
