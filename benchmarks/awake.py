"""Compiled loops (`cisp.awake`) against ordinary passes and the dense chain, medians in one run.

Ordinary passes are those of this build, which it still has for little work; `sizes` and `width`
also time those of commit 18b6047, by that commit itself (`ordinary.py`). Rounds take turns, and
what is timed is the processor's time, so that a busy machine slows all alike.

python benchmarks/awake.py sizes    by T and D: time, ratio, circuits met, memory, time to build
python benchmarks/awake.py width    the exponent of time against D, at fixed T (d/D)^2
python benchmarks/awake.py dense    T = 557, D = 1000, z = 2 against the bare dense chain
python benchmarks/awake.py figures  all that figures 5 to 7 measure
python benchmarks/awake.py cells    every cell of figures 8 to 11
python benchmarks/awake.py million  a million circuits: a quarter of an hour
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from engine import peak

import cisp
import cisp.awake
from cisp_book.studies.grid import PAIRS

COMMIT = "18b6047"
HERE = Path(__file__).parent
INPUTS, ROUNDS = 16_384, 15
CHOSEN, COMPILED, ORDINARY = cisp.awake.WORTH, -1.0, np.inf  # from how much work on loops compiled

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
WIDTHS: list[Case] = [
    ("post", round(0.004 * (D / 4) ** 2), D, 6, 2) for D in (1000, 2000, 4000, 8000, 16_000)
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


def seconds(network: cisp.Network, z: int, samples: int, worth: float, run: Any = None) -> float:
    """The processor's time for one run of `measure`, or of another."""
    cisp.awake.WORTH = worth
    start = process_time()
    (run or cisp.measure)(network, z=z, samples=samples, progress=False)
    return process_time() - start


def met(network: cisp.Network, z: int, samples: int) -> float:
    """The share of circuits that read anything but 0, over all layers."""
    active, a0 = network.sample(batch=samples, z=z)
    with torch.no_grad():
        stream = network.stream(network.embed(a0, active).permute(2, 1, 0))
        read = [(gathered != 0).any(1).double().mean() for _, gathered in stream]
    return float(torch.stack(read).mean())


def one(folder: str, kind: str, T: int, D: int, S: int, z: int) -> None:
    """Build one network; print seconds to build, ms an input each way, circuits met, peak MB.

    On one thread: a lot of inputs is run by one, and ordinary passes take too long for more lots.
    folder: that holds the sources of COMMIT, and will hold the network.
    """
    torch.set_num_threads(1)
    start = perf_counter()
    found = network(kind, T, D, S)
    built = perf_counter() - start
    found.save(f"{folder}/network.safetensors")
    seconds(found, z, 2, COMPILED)  # compiled, or read from where it is kept
    many, few, rounds = (4096, 256, 7) if T < 10**5 else (1024, 16, 3)
    words = [str(HERE / "ordinary.py"), f"{folder}/network.safetensors", str(z), str(few)]
    ms: dict[str, list[float]] = {"compiled": [], "ordinary": [], COMMIT: []}
    with subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": f"{folder}/src"},
    ) as before:
        assert before.stdin
        assert before.stdout
        for _ in range(rounds):
            ms["compiled"].append(seconds(found, z, many, COMPILED) / many * 1e3)
            ms["ordinary"].append(seconds(found, z, few, ORDINARY) / few * 1e3)
            print(file=before.stdin, flush=True)
            ms[COMMIT].append(float(before.stdout.readline()))
    wall = perf_counter()
    lots = 10_000 if T > 10**5 else many
    seconds(found, z, lots, COMPILED)
    wall, most = perf_counter() - wall, peak()
    print(json.dumps({"build": built, "met": met(found, z, 16), "peak": most, "wall": wall, **ms}))


def sizes(cases: list[Case]) -> list[dict[str, Any]]:
    """A line for each case, run in a process of its own. Ratios: ordinary times over compiled."""
    print(
        f"{'network':10} {'T':>8} {'D':>7} {'S':>3} {'z':>2} {'build s':>8} {COMMIT + ' ms':>11} "
        f"{'ordinary ms':>12} {'compiled ms (range)':>26} {'ratios':>13} {'met':>7} {'peak MB':>8}"
    )
    with TemporaryDirectory() as folder:
        git = ["git", "-C", str(HERE.parent), "archive", f"--output={folder}/src.zip", COMMIT]
        subprocess.run([*git, "src"], check=True)
        shutil.unpack_archive(f"{folder}/src.zip", folder)
        return [run for case in cases if (run := line(folder, case))]


def line(folder: str, case: Case) -> dict[str, Any] | None:
    """One of these lines."""
    words = [sys.executable, __file__, "one", folder, *map(str, case)]
    out = subprocess.run(words, capture_output=True, text=True, encoding="utf-8")
    kind, T, D, S, z = case
    print(f"{kind:10} {T:8d} {D:7d} {S:3d} {z:2d}", end="")
    if out.returncode:
        print(f" stopped: {out.stderr.strip().splitlines()[-1:]} ({out.returncode})")
        return None
    run = json.loads(out.stdout)
    ms, ordinary, before = (median(run[name]) for name in ("compiled", "ordinary", COMMIT))
    told = f"{ms:.3f} ({min(run['compiled']):.3f} to {max(run['compiled']):.3f})"
    print(
        f" {run['build']:8.1f} {before:11.2f} {ordinary:12.2f} {told:>26} {before / ms:6.1f} "
        f"{ordinary / ms:6.1f} {run['met']:7.1%} {run['peak']:8.0f}",
        flush=True,
    )
    if T > 10**5:
        print(f"{'':10} 10,000 inputs in {run['wall']:.0f} s by the clock, one thread")
    return {"D": D, **run}


def width() -> None:
    """Slopes of ln time against ln D, one for each round."""
    found = sizes(WIDTHS)
    D = np.log([run["D"] for run in found])
    for name in (COMMIT, "ordinary", "compiled"):
        slopes = np.polyfit(D, np.log([run[name] for run in found]), 1)[0]
        print(
            f"{name}: time grows as D^{np.median(slopes):.2f} "
            f"({slopes.min():.2f} to {slopes.max():.2f} over {len(slopes)} rounds)"
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
            start = process_time()
            for some in inputs.split(1024):
                chain(some)
            times["dense chain"].append(process_time() - start)
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
    each: dict[str, list[float]] = {"ordinary": [], "compiled": []}
    for _ in range(4):
        for way, worth in (("ordinary", ORDINARY), ("compiled", COMPILED)):
            runs = (cisp.measure, cisp.measure_masked)
            each[way].append(
                sum(seconds(found, z, 5_570, worth, run) for z in range(1, 5) for run in runs)
            )
    for way, times in each.items():
        print(
            f"figures 5 to 7, {way}: {median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
        )


def cells() -> None:
    """500 inputs in each cell of figures 8 to 11, whole and masked, on one thread: the worst.

    So few inputs are run by ordinary passes, unless these are told otherwise, as they are here.
    """
    torch.set_num_threads(1)
    found, chosen = [], 0
    for D, Ts in PAIRS.items():
        for T in Ts:
            built = network("post", T, D, 6)
            chosen += 500 * built.tables.numel() * built.d > CHOSEN
            for z in range(1, 5):
                for run in (cisp.measure, cisp.measure_masked):
                    rounds = [
                        [seconds(built, z, 500, worth, run) for worth in (COMPILED, ORDINARY)]
                        for _ in range(3)
                    ]
                    compiled, ordinary = np.median(rounds, 0)
                    found.append((compiled / ordinary, f"T={T}, D={D}, z={z}, {run.__name__}"))
    found.sort()
    print(
        f"{len(found)} cells of figures 8 to 11, {8 * chosen} of them compiled unasked; if all are:"
        f" time over ordinary {found[len(found) // 2][0]:.2f} (median), worst {found[-1][0]:.2f} "
        f"at {found[-1][1]}"
    )


if __name__ == "__main__":
    which, *rest = sys.argv[1:] or ["all"]
    if which == "one":
        one(rest[0], rest[1], *map(int, rest[2:]))
        sys.exit()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if which in ("sizes", "all"):
        sizes(CASES)
    if which in ("width", "all"):
        width()
    if which in ("dense", "all"):
        dense()
    if which in ("figures", "all"):
        figures()
    if which in ("cells", "all"):
        cells()
    if which == "million":
        sizes(MILLION)
