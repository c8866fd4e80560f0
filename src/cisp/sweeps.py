"""Many networks measured, in parallel, into one table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from cisp.allocation import Table, prime_steps
from cisp.circuits import SmallCircuits
from cisp.construct import superpose
from cisp.digest import digest
from cisp.experiment import measure, shown
from cisp.rotations import conditional_rotations
from cisp.tally import Measurement


def sweep(
    cells: Iterable[Mapping[str, int]],
    *,
    samples: int | None = None,
    L: int = 5,
    make: Callable[..., SmallCircuits] = conditional_rotations,
    allocate: Callable[..., Table] = prime_steps,
    max_overlap: int | float = 1,
    run: Callable[..., Measurement] = measure,
    table: Literal["errors", "activity", "circuits"] = "errors",
    memory: joblib.Memory | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """One table of measurements over cells with keys T, D, S, z, seed; a fresh network for each.

    `make(T=, rng=)` gives the circuits and `superpose` embeds them; other networks take a loop over
    `measure`.

    Cells run under the active `joblib.parallel_config`: n_jobs processes here, or a cluster through
    joblib's backends. With `memory` finished cells are kept on disk, under a key that includes the
    source of this package and of make, allocate and run, so an interrupted sweep resumes where it
    was; these must then be functions with a name. A control whose rows share more positions, such
    as `random_subsets`, needs max_overlap=S.
    """
    wanted = ("T", "D", "S", "z", "seed")
    rows = [dict(cell) for cell in cells]
    for cell in rows:
        if set(cell) != set(wanted):
            raise ValueError(f"cell={cell} has keys {sorted(cell)}; they must be {list(wanted)}")
    if not rows:
        raise ValueError(f"cells={rows} is empty; it must hold at least one cell")
    run_cell = (memory or joblib.Memory(None)).cache(_run_cell)
    jobs = [
        joblib.delayed(run_cell)(
            **cell,
            samples=samples,
            L=L,
            make=make,
            allocate=allocate,
            max_overlap=max_overlap,
            run=run,
            code=digest(_run_cell, make, allocate, run),
        )
        for cell in rows
    ]
    found = joblib.Parallel(return_as="generator")(jobs)
    frames = []
    for cell, measured in zip(rows, tqdm(found, total=len(rows), **shown(progress)), strict=True):
        frames.append(
            getattr(measured, table).assign(**{k: v for k, v in cell.items() if k != "z"})
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame[[*(k for k in wanted), *(k for k in frame if k not in wanted)]]


def _run_cell(
    *,
    T: int,
    D: int,
    S: int,
    z: int,
    seed: int,
    samples: int | None,
    L: int,
    make: Callable[..., SmallCircuits],
    allocate: Callable[..., Table],
    max_overlap: int | float,
    run: Callable[..., Measurement],
    code: str,
) -> Measurement:
    """One cell of a sweep. `code` only tells cached results of different sources apart."""
    angles, dealing, inputs = np.random.default_rng(seed).spawn(3)
    circuits = make(T=T, rng=angles)
    network = superpose(
        circuits, D=D, S=S, L=L, rng=dealing, allocate=allocate, max_overlap=max_overlap
    )
    return run(network, z=z, samples=samples, rng=inputs, progress=False)
