"""Speed and memory of the engine: medians, and their ratios, in one run on this machine.

python benchmarks/engine.py dense    (a) measure against the bare dense chain
python benchmarks/engine.py width    (b) time and memory against D at fixed T (d/D)^2
python benchmarks/engine.py million  the same towards a million circuits, minutes
python benchmarks/engine.py samples  (c) memory against the number of inputs
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch.utils.benchmark import Timer

import cisp

INPUTS = 16384


def rotations(*, T: int, D: int, S: int = 6) -> cisp.Network:
    """The post's network at any size, in float32."""
    return cisp.superpose(cisp.conditional_rotations(T=T, rng=0), D=D, S=S, L=5, rng=1)


def seconds(statement: str, **names: object) -> float:
    """One timed run on all cores."""
    timer = Timer(statement, globals=names, num_threads=torch.get_num_threads())
    return float(timer.timeit(1).mean)


def against_dense(rounds: int = 15) -> None:
    """(a) All read-outs and statistics, against the bare products with the dense weights."""
    network = rotations(T=557, D=1000)
    active, a0 = network.sample(batch=INPUTS, z=2)
    dense, inputs = network.to_dense(), network.embed(a0, active).flatten(1)
    found: dict[str, list[float]] = {"dense chain": [], "forward": [], "measure": []}
    with torch.no_grad():
        for _ in range(rounds):  # one after another, so that a busy moment hits all alike
            found["dense chain"].append(
                seconds("for x in inputs.split(1024): dense(x)", dense=dense, inputs=inputs)
            )
            found["forward"].append(
                seconds(
                    "for x in inputs.split(256): network(x.unflatten(1, (4, 250)))",
                    network=network,
                    inputs=inputs,
                )
            )
            found["measure"].append(
                seconds(
                    "measure(network, z=2, samples=n)",
                    measure=cisp.measure,
                    network=network,
                    n=INPUTS,
                )
            )
    print(f"D = 1000, T = 557, S = 6, five layers, float32, {INPUTS} inputs, {rounds} rounds")
    chain = median(found["dense chain"])
    for name, times in found.items():
        middle = median(times)
        print(
            f"{name:12} median {middle:.3f} s ({min(times):.3f} to {max(times):.3f}), "
            f"ratio {middle / chain:.2f}"
        )


def one_width(D: int, T: int) -> None:
    """Build, run and read out one network; print seconds and the peak of memory."""
    kept: list[cisp.Network] = []
    build = seconds("keep.append(make(T=T, D=D))", make=rotations, T=T, D=D, keep=kept)
    inputs = 64
    run = seconds(
        "measure(network, z=2, samples=n)", measure=cisp.measure, network=kept[0], n=inputs
    )
    print(D, T, build, run / inputs * 1e3, peak())


def against_width(
    widths: tuple[int, ...] = (1000, 2000, 4000, 8000, 16000, 20000),
) -> None:
    """(b) T (d/D)^2 = 0.004: time for an input and memory, with the fitted exponents."""
    rows = []
    print(f"{'D':>6} {'T':>7} {'build s':>8} {'ms an input':>12} {'peak MB':>8}")
    for D in widths:
        T = round(0.004 * (D / 4) ** 2)
        out = subprocess.run(
            [sys.executable, __file__, "one-width", str(D), str(T)],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if out.returncode:
            print(
                f"{D:6d} {T:7d} stopped: {out.stderr.strip().splitlines()[-1:]} ({out.returncode})"
            )
            break
        rows.append([float(v) for v in out.stdout.split()])
        print("{:6.0f} {:7.0f} {:8.2f} {:12.3f} {:8.0f}".format(*rows[-1]), flush=True)
    if len(rows) < 2:
        return
    logs = np.log(rows)
    for name, column in (("time an input", 3), ("peak memory", 4)):
        slope = np.polyfit(logs[:, 0], logs[:, column], 1)[0]
        print(f"{name}: exponent in D over these {slope:.2f}")


def one_count(samples: int) -> None:
    """Run so many inputs; print the peak of memory."""
    cisp.measure(rotations(T=557, D=1000), z=3, samples=samples)
    print(peak())


def against_samples() -> None:
    """(c) Peak memory of the whole process."""
    for samples in (1_000, 10_000, 100_000):
        out = subprocess.run(
            [sys.executable, __file__, "one-count", str(samples)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
        print(f"{samples:7d} inputs: peak {float(out.stdout):6.0f} MB")


def peak() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    which, *sizes = sys.argv[1:] or ["all"]
    if which == "one-width":
        one_width(*map(int, sizes))
    elif which == "one-count":
        one_count(*map(int, sizes))
    else:
        print(
            f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, torch {torch.__version__}"
        )
        parts: dict[str, Callable[[], None]] = {
            "dense": against_dense,
            "width": against_width,
            "samples": against_samples,
        }
        if which == "million":
            against_width((32000, 44000, 63248))
        elif which in parts:
            parts[which]()
        elif which == "all":
            for part in parts.values():
                part()
        else:
            sys.exit(
                f"{which}: give one of {', '.join(parts)}, million, or nothing for all but that"
            )
