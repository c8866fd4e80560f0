"""How much faster density evolution is than at an earlier commit, on cells of figures 8 to 11.

Both run in turn, cell by cell, on one core in one process each, so that a busy moment hits both:
`python benchmarks/density_evolution.py [every]` takes every 15th, or other share, of the 164 cells
(an odd number, so that z from 1 to 4 are all among them).
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

BEFORE = "e25ad65"
ROUNDS = 3
HERE = Path(__file__).parent.parent
SERVE = """
import sys, time, cisp
for line in sys.stdin:
    T, D, z = map(int, line.split())
    begun = time.process_time()
    cisp.density_evolution(T=T, D=D, S=6, z=z, L=5)
    print(time.process_time() - begun, flush=True)
"""


def serve(src: Path) -> subprocess.Popen[str]:
    """A process that answers each cell (T, D, z) with the seconds of its prediction."""
    env = os.environ | {"PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        text=True,
        encoding="utf-8",
    )


def seconds(server: subprocess.Popen[str], cell: tuple[int, int, int]) -> float:
    """The seconds of one prediction."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("{} {} {}\n".format(*cell))
    server.stdin.flush()
    return float(server.stdout.readline())


def main() -> None:
    """Print the medians of both, and their ratio, cell by cell and in all."""
    from cisp_book.studies.grid import PAIRS

    every = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    cells = [(T, D, z) for D, Ts in PAIRS.items() for T in Ts for z in (1, 2, 3, 4)][::every]
    with TemporaryDirectory() as folder:
        packed = subprocess.check_output(["git", "archive", BEFORE, "src"], cwd=HERE)
        with tarfile.TarFile(fileobj=io.BytesIO(packed)) as files:
            files.extractall(folder, filter="data")
        both = [serve(Path(folder) / "src"), serve(HERE / "src")]
        for server in both:
            seconds(server, cells[0])  # loads what is loaded once
        total = [0.0, 0.0]
        print(f"{'T':>6} {'D':>6} {'z':>2} {'before':>7} {'now':>7} {'ratio':>6}")
        for cell in cells:
            rounds = [[seconds(server, cell) for server in both] for _ in range(ROUNDS)]
            old, new = (median(times) for times in zip(*rounds, strict=True))
            total = [total[0] + old, total[1] + new]
            print("{:6d} {:6d} {:2d}".format(*cell), f"{old:7.2f} {new:7.2f} {old / new:6.2f}")
        print(f"{'in all':>16} {total[0]:7.2f} {total[1]:7.2f} {total[0] / total[1]:6.2f}")
        for server in both:
            server.kill()


if __name__ == "__main__":
    main()
