"""Many networks measured, in parallel, into one table."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_ulong, py_object, pythonapi
from functools import partial
from inspect import Parameter, signature
from threading import Event, Thread, get_ident
from time import monotonic
from typing import Literal, get_args

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from cisp.allocation import Table
from cisp.arguments import count
from cisp.circuits import SmallCircuits
from cisp.construct import superpose
from cisp.experiment import measure, shown
from cisp.keys import key
from cisp.network import Network
from cisp.remembered import Remembered
from cisp.rotations import conditional_rotations
from cisp.tally import Measurement

Named = Literal["errors", "activity", "circuits"]

WANTED = ("T", "D", "S", "z", "seed")

PATIENCE = 600  # seconds that a cluster may be at work on nothing


def sweep(
    cells: Iterable[Mapping[str, int]],
    *,
    samples: int | None = None,
    L: int | None = None,
    make: Callable[..., SmallCircuits] = conditional_rotations,
    embed: Callable[..., Network] = superpose,
    allocate: Callable[..., Table] | None = None,
    max_overlap: int | float | None = None,
    run: Callable[..., Measurement] = measure,
    table: Named = "errors",
    memory: joblib.Memory | None = None,
    progress: bool | None = None,
    construct: Callable[..., Network] | None = None,
) -> pd.DataFrame:
    """One table of measurements over cells with keys T, D, S, z, seed; a fresh network for each.

    `make(T=, rng=)` gives the circuits and `embed(circuits, D=, S=, L=, rng=)` the network, as
    `superpose_extrinsic` does; one that takes no S, as `superpose_exact`, is given none. L,
    allocate and max_overlap are the construction's own unless given; L that of the circuits.
    construct: an older name of embed. A control whose rows share more positions, such as
    `random_subsets`, needs max_overlap=S.

    Cells run under the active `joblib.parallel_config`: n_jobs processes here, or a cluster through
    joblib's backends, dask's without encryption unless it is given certificates.

    With `memory` finished cells are kept on disk, so an interrupted sweep resumes where it was, and
    sweeps that share one do each cell once. They are kept under a `key` of all that they depend on:
    this package, the functions given, the globals and helpers that these use, and what they hold.
    Reading a memory runs what was pickled into it, so its folder must be one that you trust.

    Raises ValueError for a cell or an argument that is not allowed, and for functions of which no
    key can be made; RuntimeError if a dask cluster has been at work on nothing for ten minutes.

    >>> cells = [dict(T=6, D=48, S=2, z=z, seed=0) for z in (1, 2)]
    >>> sweep(cells, samples=20, L=2, progress=False).z.unique().tolist()
    [1, 2]
    """
    if table not in get_args(Named):
        raise ValueError(f"table={table!r} is not allowed; it must be one of {get_args(Named)}")
    if not isinstance(memory, joblib.Memory | None):
        told = f"memory={memory!r}"[:200]
        raise ValueError(f"{told} is not allowed; it must be a joblib.Memory, or None")
    rows = [_checked(cell) for cell in cells]
    if not rows:
        raise ValueError(f"cells={rows} is empty; it must hold at least one cell")
    if L is not None:
        count("L", L)
    options = {"L": L, "allocate": allocate, "max_overlap": max_overlap}
    parts: dict[str, object] = dict(
        samples=None if samples is None else count("samples", samples),
        make=make,
        embed=construct or embed,
        options={k: v for k, v in options.items() if v is not None},
        run=run,
    )
    run_cell: Callable[..., Measurement] = partial(_run_cell, **parts)  # type: ignore[arg-type]
    if memory is not None and memory.store_backend is not None:
        run_cell = Remembered(run_cell, key(cell=_run_cell, **parts), memory)
    frames = []
    with _watched():
        jobs = (joblib.delayed(run_cell)(**cell) for cell in rows)
        found = joblib.Parallel(return_as="generator")(jobs)
        bar = tqdm(found, total=len(rows), **shown(progress))
        for cell, measured in zip(rows, bar, strict=True):
            named = {k: v for k, v in cell.items() if k != "z"}
            frames.append(getattr(measured, table).assign(**named))
    frame = pd.concat(frames, ignore_index=True)
    return frame[[*(k for k in WANTED), *(k for k in frame if k not in WANTED)]]


def _checked(cell: Mapping[str, int]) -> dict[str, int]:
    """A cell with plain integers, or a ValueError."""
    if set(cell) != set(WANTED):
        raise ValueError(f"cell={cell} has keys {sorted(cell)}; they must be {list(WANTED)}")
    return {name: count(name, cell[name], low=int(name != "seed")) for name in WANTED}


def _run_cell(
    *,
    T: int,
    D: int,
    S: int,
    z: int,
    seed: int,
    samples: int | None,
    make: Callable[..., SmallCircuits],
    embed: Callable[..., Network],
    options: Mapping[str, object],
    run: Callable[..., Measurement],
) -> Measurement:
    """One cell of a sweep."""
    angles, dealing, inputs = np.random.default_rng(seed).spawn(3)
    circuits = make(T=T, rng=angles)
    sizes = {"D": D, "S": S} if _takes(embed, "S") else {"D": D}
    network = embed(circuits, **sizes, rng=dealing, **options)
    return run(network, z=z, samples=samples, rng=inputs, progress=False)


def _takes(function: Callable[..., object], name: str) -> bool:
    """Whether a function has a parameter of that name, or takes any."""
    known = signature(function).parameters
    return name in known or any(p.kind is Parameter.VAR_KEYWORD for p in known.values())


class Deserted(BaseException):
    """Raised in the thread of a sweep whose cluster is at work on nothing."""


@contextmanager
def _watched() -> Iterator[None]:
    """Give up on a dask cluster that is at work on nothing, for which joblib waits for ever.

    Its workers are gone, or a cell killed each that took it up, of which joblib is not told.
    """
    backend, _ = joblib.parallel.get_active_backend()
    client = getattr(backend, "client", None)
    if client is None:
        yield
        return
    over, here = Event(), c_ulong(get_ident())

    def look() -> None:
        seen = monotonic()
        while not over.wait(PATIENCE / 100):
            if backend.waiting_futures.futures and client.ncores():
                seen = monotonic()
            elif monotonic() > seen + PATIENCE:
                while not over.wait(
                    1
                ):  # not by a signal: these may be ignored, and reach one thread
                    pythonapi.PyThreadState_SetAsyncExc(here, py_object(Deserted))
                return

    watch = Thread(target=look, daemon=True)
    watch.start()
    try:
        yield
    except Deserted as error:
        over.set()
        raise RuntimeError(
            f"the cluster has been at work on nothing for {PATIENCE} seconds: its workers are "
            "gone, or a cell has killed those that took it up; with memory, what is done is kept, "
            "and the sweep can be started again"
        ) from error
    finally:
        over.set()
