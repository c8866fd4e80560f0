"""Seeded runs of a network beside the oracle, streamed into statistics; sweeps (section 4)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from inspect import getsource, isfunction
from itertools import combinations, islice
from math import comb
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import joblib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from cisp.allocation import Table, prime_steps
from cisp.arguments import count
from cisp.circuits import Seed, SmallCircuits
from cisp.network import Network, superpose
from cisp.rotations import conditional_rotations

ON = 1e-4  # a neuron above this counts as active (post, figure 7)
DRAWN = 4096  # inputs are drawn in lots of this many, whatever the batch, so batches change nothing

FITTING = 2**22  # the most entries of an array (T, d, batch) unless batch is given

ONE_AT_A_TIME = Lock()  # torch's number of threads belongs to the whole process

Lot = tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z d"]]


@dataclass(frozen=True, eq=False)
class Measurement:
    """Error statistics of a network over many inputs, as tidy tables.

    errors: z, layer, quantity, circuits ("active" or "inactive"), mse (mean squared norm of
        estimate minus truth, 4.1 and 4.2), mse_stderr (standard error over inputs), worst (largest
        norm over circuits and inputs), samples (inputs), worst_circuit, worst_active, worst_a0: the
        circuit, and the input (active circuits and their a^0) that gave the worst.
    activity: z, layer, block, fraction of the block's neurons above 1e-4.
    circuits: z, layer, quantity, circuit, mse, samples: each circuit where it is active.
    """

    errors: pd.DataFrame
    activity: pd.DataFrame
    circuits: pd.DataFrame


def measure(
    network: Network,
    *,
    z: int,
    samples: int | Literal["all"] | None = None,
    rng: Seed = 0,
    device: torch.device | str | None = None,
    batch: int | None = None,
    progress: bool | None = None,
) -> Measurement:
    """Errors of all T read-outs in all layers over many inputs with z active circuits.

    Active sets are drawn uniformly without replacement. samples="all" runs every set once, as does
    leaving it out at z = 1. Inputs are streamed: memory grows with `batch` (by default what suits
    the cache), not with `samples`, and results depend on `batch` by rounding alone. progress: a bar
    if True, none if False, by default where the output is a terminal.
    """
    return _measure(network, z, samples, rng, device, batch, progress, _keep_all)


def measure_masked(
    network: Network,
    *,
    z: int,
    samples: int | Literal["all"] | None = None,
    rng: Seed = 0,
    device: torch.device | str | None = None,
    batch: int | None = None,
    progress: bool | None = None,
) -> Measurement:
    """Like `measure`, with every neuron off that belongs to no active circuit.

    The ideal of the error derivations: noise comes from overlaps alone, no neuron that should be
    off takes part.
    """
    return _measure(network, z, samples, rng, device, batch, progress, _keep_active)


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
            code=_code(make, allocate, run),
        )
        for cell in rows
    ]
    found = joblib.Parallel(return_as="generator")(jobs)
    frames = []
    for cell, measured in zip(rows, tqdm(found, total=len(rows), **_bar(progress)), strict=True):
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


def _code(*functions: Callable[..., object]) -> str:
    """A digest of the source of the package and of these functions."""
    texts = [file.read_text() for file in sorted(Path(__file__).parent.glob("*.py"))]
    for function in functions:
        inner = function.func if isinstance(function, partial) else function
        texts.append(getsource(inner) if isfunction(inner) else repr(inner))
    return sha256("".join(texts).encode()).hexdigest()


def _bar(progress: bool | None) -> dict[str, Any]:
    """Arguments for tqdm; disable=None leaves the bar to terminals."""
    return {"disable": None if progress is None else not progress}


def _keep_all(network: Network, active: Int[Tensor, "batch z"]) -> None:
    return None


def _keep_active(
    network: Network, active: Int[Tensor, "batch z"]
) -> Float[Tensor, "layers n batch"]:
    """1 on the positions of active circuits, 0 elsewhere."""
    positions = network.tables[:, active].flatten(2).mT  # (L, z S, batch)
    return network.w.new_zeros(network.L, network.n, len(active)).scatter(1, positions, 1.0)


def _measure(
    network: Network,
    z: int,
    samples: int | Literal["all"] | None,
    rng: Seed,
    device: torch.device | str | None,
    batch: int | None,
    progress: bool | None,
    keep: Callable[[Network, Tensor], Tensor | None],
) -> Measurement:
    count("z", z, high=network.T)
    fitting = FITTING // (network.T * network.d)  # arrays of a batch should stay in the cache
    batch = min(max(fitting, 8), 384) if batch is None else count("batch", batch)
    every = samples == "all" or (samples is None and z == 1)
    if isinstance(samples, str) and not every:
        raise ValueError(
            f'samples={samples!r} is not allowed; it must be a number of inputs or "all"'
        )
    if samples is None and not every:
        raise ValueError(f'samples=None needs z=1, but z={z}; give a number of inputs or "all"')
    total = comb(network.T, z) if every else count("samples", samples)
    network = network if device is None else _on_device(network, device)
    lots = _all_lots(network, z, rng) if every else _drawn_lots(network, z, total, rng)
    tally = _Tally(network, z)
    with tqdm(total=total, unit="inputs", **_bar(progress)) as bar:
        for part in _in_threads(lambda lot: _run_lot(network, lot, batch, keep, tally.worst), lots):
            tally.merge(part)
            bar.update(part.samples)
    return tally.result()


def _on_device(network: Network, device: torch.device | str) -> Network:
    """A copy of the network on the device."""
    with torch.no_grad():
        circuits, w_mean = network.circuits.to(device), network.w_mean.to(device)
    return type(network)(circuits, network.tables, network.chi, w_mean, D=network.D)


def _run_lot(
    network: Network,
    lot: Lot,
    batch: int,
    keep: Callable[[Network, Tensor], Tensor | None],
    worst: np.ndarray,
) -> "_Tally":
    """The tally of one lot of inputs, run in batches; cases no worse than `worst` are not noted."""
    active, a0 = lot
    tally = _Tally(network, active.shape[1])
    tally.worst = worst.copy()
    with torch.no_grad():
        a = network.circuits.run(a0, active)[1:]
        for start in range(0, len(active), batch):
            some = slice(start, start + batch)
            A0 = network.embed(a0[some], active[some]).permute(2, 1, 0)
            stream = network.stream(A0, keep(network, active[some]))
            tally.add(stream, a[:, some], active[some], a0[some])
    return tally


def _in_threads(function: Callable[[Lot], "_Tally"], lots: Iterator[Lot]) -> Iterator["_Tally"]:
    """The function's results in order, from as many threads as torch uses.

    A lot in each thread, torch within it on one, is faster than one lot after another with torch on
    all: the arrays are too small to be shared out well.
    """
    torch.empty(31 << 20, dtype=torch.uint8)  # once freed, glibc keeps blocks this size at hand
    with ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        waiting: deque[Future[_Tally]] = deque()
        try:
            for lot in lots:
                waiting.append(pool.submit(function, lot))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _drawn_lots(network: Network, z: int, total: int, rng: Seed) -> Iterator[Lot]:
    rng = np.random.default_rng(rng)
    for start in range(0, total, DRAWN):
        yield network.sample(batch=min(DRAWN, total - start), z=z, rng=rng)


def _all_lots(network: Network, z: int, rng: Seed) -> Iterator[Lot]:
    rng = np.random.default_rng(rng)
    sets = combinations(range(network.T), z)
    while rows := list(islice(sets, DRAWN)):
        active = torch.tensor(rows, device=network.tables.device)
        yield active, network.circuits.sample_inputs(batch=len(rows), z=z, rng=rng)


class _Tally:
    """Running float64 sums of what `measure` reports; axes (layer, quantity, active or not)."""

    def __init__(self, network: Network, z: int) -> None:
        self.z, self.T, self.S, self.n = z, network.T, network.S, network.n
        readouts = network.circuits.readouts or {"activations": torch.eye(network.d)}
        self.names = list(readouts)
        kind = torch.promote_types(network.w.dtype, torch.float32)
        self.maps = torch.cat(list(readouts.values())).to(network.w.device, kind)  # one matrix
        ends = np.cumsum([len(m) for m in readouts.values()]).tolist()
        self.rows = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        shape = (network.L, len(self.names), 2)
        self.samples = 0
        self.sums, self.squares = self.maps.new_zeros(2, *shape, dtype=torch.float64)
        self.worst = np.full(shape, -1.0)
        self.where: dict[tuple[int, int, int], tuple[int, Tensor, Tensor]] = {}
        self.on = self.sums.new_zeros(network.L, network.d)
        self.each = self.sums.new_zeros(network.L, len(self.names), network.T)
        self.times = self.sums.new_zeros(network.T)

    def add(
        self,
        stream: Iterator[tuple[Tensor, Tensor]],
        a: Float[Tensor, "layers batch z d"],
        active: Int[Tensor, "batch z"],
        a0: Float[Tensor, "batch z d"],
    ) -> None:
        """Take in one batch: what `Network.stream` yields, and the oracle's a^1..a^L."""
        inputs = torch.arange(len(active), device=active.device).unsqueeze(1)
        on, picked, totals, kind = [], [], [], self.maps.dtype
        for layer, (A, gathered) in enumerate(stream):
            on.append(torch.gt(A, ON, out=torch.empty_like(A, dtype=kind)).sum(2).sum(0))
            read = self.maps @ gathered.to(kind)  # T k batch
            picked.append(read[active, :, inputs])
            read[active, :, inputs] = 0.0
            totals.append(read.square_().sum(0))
            for q, rows in enumerate(self.rows):
                of_others = sum(read[:, rows].unbind(1)[1:], read[:, rows.start])
                largest = of_others.amax(0)
                top = float(largest.amax()) / self.S**2
                if top > self.worst[layer, q, 1]:
                    at = int(largest.argmax())
                    circuit = int(of_others[:, at].argmax())
                    self._note((layer, q, 1), top, circuit, active[at], a0[at])
        squared = (torch.stack(picked) / self.S - a.to(kind) @ self.maps.T).square()  # L batch z k
        of_active = torch.stack([squared[..., rows].sum(-1) for rows in self.rows], 1)
        summed = torch.stack(totals).double() / (self.S**2 * (self.T - self.z))
        of_others = torch.stack([summed[:, rows].sum(1) for rows in self.rows], 1)
        per_input = torch.stack([of_active.mean(-1, dtype=torch.float64), of_others], 2)
        self.samples += len(active)
        self.sums += per_input.sum(-1)
        self.squares += per_input.square().sum(-1)
        self.on += torch.stack(on)
        each = of_active.flatten(2).double()
        self.each.scatter_add_(2, active.flatten().expand_as(each), each)
        self.times += active.flatten().bincount(minlength=self.T)
        for (layer, q), top in np.ndenumerate(of_active.amax((2, 3)).cpu().numpy()):
            if top > self.worst[layer, q, 0]:
                at, place = divmod(int(of_active[layer, q].argmax()), self.z)
                self._note((layer, q, 0), float(top), int(active[at, place]), active[at], a0[at])

    def _note(
        self, key: tuple[int, int, int], top: float, circuit: int, active: Tensor, a0: Tensor
    ) -> None:
        self.worst[key] = top
        self.where[key] = circuit, active.clone(), a0.clone()

    def merge(self, later: "_Tally") -> None:
        """Add the sums of a later part of the same run."""
        for name in ("samples", "sums", "squares", "on", "each", "times"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for key, (circuit, active, a0) in later.where.items():
            if later.worst[key] > self.worst[key]:
                self._note(key, later.worst[key], circuit, active, a0)

    def result(self) -> Measurement:
        """The tables of a finished run."""
        errors, circuits = [], []
        mean = self.sums / self.samples
        variance = (self.squares / self.samples - mean.square()).clamp(min=0)
        stderr = (variance / (self.samples - 1)).sqrt()  # nan for a single input
        unknown = (-1, torch.zeros(0, dtype=torch.int64), torch.zeros(0))  # where errors are nan
        for row, q, k in np.ndindex(*self.worst.shape):
            if k == 1 and self.z == self.T:
                continue  # no circuit is inactive
            fine = not bool(mean[row, q, k].isnan())
            circuit, active, a0 = self.where[row, q, k] if fine else unknown
            errors.append(
                {
                    "z": self.z,
                    "layer": row + 1,
                    "quantity": self.names[q],
                    "circuits": ("active", "inactive")[k],
                    "mse": float(mean[row, q, k]),
                    "mse_stderr": float(stderr[row, q, k]),
                    "worst": float(self.worst[row, q, k] ** 0.5) if fine else float("nan"),
                    "samples": self.samples,
                    "worst_circuit": circuit,
                    "worst_active": tuple(active.tolist()),
                    "worst_a0": a0.cpu().numpy(),
                }
            )
        fraction = (self.on / (self.samples * self.n)).cpu().numpy()
        activity = [
            {"z": self.z, "layer": row + 1, "block": block, "fraction": float(value)}
            for (row, block), value in np.ndenumerate(fraction)
        ]
        for row, quantities in enumerate((self.each / self.times).cpu().numpy()):
            for name, mse in zip(self.names, quantities, strict=True):
                head = {"z": self.z, "layer": row + 1, "quantity": name}
                times = self.times.cpu().numpy()
                tail = {"circuit": range(self.T), "mse": mse, "samples": times.astype(int)}
                circuits.append(pd.DataFrame({**head, **tail}))
        frame = pd.concat(circuits, ignore_index=True)
        return Measurement(pd.DataFrame(errors), pd.DataFrame(activity), frame)
