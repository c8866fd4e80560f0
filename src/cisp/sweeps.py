"""Many networks measured, in parallel, into one table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from cisp.allocation import Table
from cisp.circuits import SmallCircuits
from cisp.construct import superpose
from cisp.digest import digest
from cisp.experiment import measure, shown
from cisp.network import Network
from cisp.rotations import conditional_rotations
from cisp.tally import Measurement


def sweep(
    cells: Iterable[Mapping[str, int]],
    *,
    samples: int | None = None,
    L: int | None = None,
    make: Callable[..., SmallCircuits] = conditional_rotations,
    construct: Callable[..., Network] = superpose,
    allocate: Callable[..., Table] | None = None,
    max_overlap: int | float | None = None,
    run: Callable[..., Measurement] = measure,
    table: Literal["errors", "activity", "circuits"] = "errors",
    memory: joblib.Memory | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """One table of measurements over cells with keys T, D, S, z, seed; a fresh network for each.

    `make(T=, rng=)` gives the circuits and `construct(circuits, D=, S=, L=, rng=)` embeds them, as
    `superpose_extrinsic` does. L, allocate and max_overlap are those of the construction, its own
    unless given; L that of the circuits.

    Cells run under the active `joblib.parallel_config`: n_jobs processes here, or a cluster through
    joblib's backends. With `memory` finished cells are kept on disk, under a key that includes the
    source of this package and of make, construct, allocate and run, so an interrupted sweep resumes
    where it was; these must then be functions with a name. A control whose rows share more
    positions, such as `random_subsets`, needs max_overlap=S.
    """
    wanted = ("T", "D", "S", "z", "seed")
    rows = [dict(cell) for cell in cells]
    for cell in rows:
        if set(cell) != set(wanted):
            raise ValueError(f"cell={cell} has keys {sorted(cell)}; they must be {list(wanted)}")
    if not rows:
        raise ValueError(f"cells={rows} is empty; it must hold at least one cell")
    options = {"L": L, "allocate": allocate, "max_overlap": max_overlap}
    run_cell = (memory or joblib.Memory(None)).cache(_run_cell)
    jobs = [
        joblib.delayed(run_cell)(
            **cell,
            samples=samples,
            make=make,
            construct=construct,
            options={k: v for k, v in options.items() if v is not None},
            run=run,
            code=digest(_run_cell, make, construct, allocate or construct, run),
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
    make: Callable[..., SmallCircuits],
    construct: Callable[..., Network],
    options: dict[str, object],
    run: Callable[..., Measurement],
    code: str,
) -> Measurement:
    """One cell of a sweep. `code` only tells cached results of different sources apart."""
    angles, dealing, inputs = np.random.default_rng(seed).spawn(3)
    circuits = make(T=T, rng=angles)
    network = construct(circuits, D=D, S=S, rng=dealing, **options)
    return run(network, z=z, samples=samples, rng=inputs, progress=False)
