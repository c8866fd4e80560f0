"""Seeded runs of a network beside the oracle, streamed into statistics; sweeps (section 4)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations, islice
from math import comb
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from cisp.allocation import Table, prime_steps
from cisp.arguments import count
from cisp.circuits import Seed, SmallCircuits, conditional_rotations
from cisp.network import Network, superpose

ON = 1e-4  # a neuron above this counts as active (post, figure 7)
DRAWN = 4096  # inputs are drawn in lots of this many, whatever the batch, so batches change nothing

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
    batch: int = 256,
    progress: bool | None = None,
) -> Measurement:
    """Errors of all T read-outs in all layers over many inputs with z active circuits.

    Active sets are drawn uniformly without replacement. samples="all" runs every set once, as does
    leaving it out at z = 1. Inputs are streamed: memory grows with `batch`, not with `samples`, and
    results depend on `batch` by rounding alone. progress: a bar if True, none if False, by default
    where the output is a terminal.
    """
    return _measure(network, z, samples, rng, device, batch, progress, _keep_all)


def measure_masked(
    network: Network,
    *,
    z: int,
    samples: int | Literal["all"] | None = None,
    rng: Seed = 0,
    device: torch.device | str | None = None,
    batch: int = 256,
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
    run: Callable[..., Measurement] = measure,
    table: Literal["errors", "activity", "circuits"] = "errors",
    memory: joblib.Memory | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """One table of measurements over cells with keys T, D, S, z, seed; a fresh network for each.

    Cells run under the active `joblib.parallel_config`: n_jobs processes here, or a cluster through
    joblib's backends. With `memory` finished cells are kept on disk, under a key that includes the
    source of this package, so an interrupted sweep resumes where it was.
    """
    wanted = ("T", "D", "S", "z", "seed")
    rows = [dict(cell) for cell in cells]
    for cell in rows:
        if set(cell) != set(wanted):
            raise ValueError(f"cell={cell} has keys {sorted(cell)}; they must be {list(wanted)}")
    run_cell = (memory or joblib.Memory(None)).cache(_run_cell)
    jobs = [
        joblib.delayed(run_cell)(
            **cell, samples=samples, L=L, make=make, allocate=allocate, run=run, code=_code()
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
    run: Callable[..., Measurement],
    code: str,
) -> Measurement:
    """One cell of a sweep. `code` only tells cached results of different sources apart."""
    angles, dealing, inputs = np.random.default_rng(seed).spawn(3)
    network = superpose(make(T=T, rng=angles), D=D, S=S, L=L, rng=dealing, allocate=allocate)
    return run(network, z=z, samples=samples, rng=inputs, progress=False)


def _code() -> str:
    """A digest of the package's source."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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
    batch: int,
    progress: bool | None,
    keep: Callable[[Network, Tensor], Tensor | None],
) -> Measurement:
    count("z", z, high=network.T), count("batch", batch)
    every = samples == "all" or (samples is None and z == 1)
    if samples is None and not every:
        raise ValueError(f'samples=None needs z=1, but z={z}; give a number of inputs or "all"')
    total = comb(network.T, z) if every else count("samples", samples)
    network = network if device is None else deepcopy(network).to(device)
    lots = _all_lots(network, z, rng) if every else _drawn_lots(network, z, total, rng)
    tally = _Tally(network, z)
    with torch.no_grad(), tqdm(total=total, unit="inputs", **_bar(progress)) as bar:
        for active, a0 in lots:
            for now, x in zip(active.split(batch), a0.split(batch), strict=True):
                A0, a = network.embed(x, now).permute(2, 1, 0), network.circuits.run(x, now)
                for layer, (A, gathered) in enumerate(network.stream(A0, keep(network, now)), 1):
                    tally.add(layer, A, gathered, a[layer], now, x)
                bar.update(len(now))
    return tally.result(total)


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
        self.maps = torch.cat(list(readouts.values())).to(network.w)  # all read-outs in one matrix
        owner = torch.cat([torch.full((len(m),), k) for k, m in enumerate(readouts.values())])
        self.groups = torch.nn.functional.one_hot(owner).T.to(network.w)  # quantity, row of maps
        shape = (network.L, len(self.names), 2)
        self.sums, self.squares = self.maps.new_zeros(2, *shape, dtype=torch.float64)
        self.worst = self.maps.new_full(shape, -1.0)
        self.where: dict[tuple[int, int, int], tuple[int, Tensor, Tensor]] = {}
        self.on = self.sums.new_zeros(network.L, network.d)
        self.each = self.sums.new_zeros(network.L, len(self.names), network.T)
        self.times = self.sums.new_zeros(network.T)

    def add(
        self,
        layer: int,
        A: Float[Tensor, "n d batch"],
        gathered: Float[Tensor, "T d batch"],
        a: Float[Tensor, "batch z d"],
        active: Int[Tensor, "batch z"],
        a0: Float[Tensor, "batch z d"],
    ) -> None:
        """Take in one layer of one batch. `gathered` is overwritten."""
        inputs = torch.arange(len(active), device=active.device).unsqueeze(1)
        read = self.maps @ gathered
        error = read[active, :, inputs] / self.S - a @ self.maps.T  # batch z k
        of_active = self.groups @ error.square().mT.to(self.groups)  # batch quantity z
        read[active, :, inputs] = 0.0
        of_others = self.groups @ read.square_()  # T quantity batch, scaled by S^2
        per_input = torch.stack(
            [
                of_active.mean(-1, dtype=torch.float64).T,
                of_others.sum(0).double() / (self.S**2 * (self.T - self.z)),
            ],
            1,
        )  # quantity, active or not, batch
        self.sums[layer - 1] += per_input.sum(-1)
        self.squares[layer - 1] += per_input.square().sum(-1)
        self.on[layer - 1] += (A > ON).sum((0, 2))
        self.each[layer - 1].index_add_(
            1, active.flatten(), of_active.transpose(0, 1).flatten(1).double()
        )
        if layer == 1:
            self.times += active.flatten().bincount(minlength=self.T)
        self._note_worst(layer - 1, of_active, of_others, active, a0)

    def _note_worst(
        self, row: int, of_active: Tensor, of_others: Tensor, active: Tensor, a0: Tensor
    ) -> None:
        largest = torch.stack([of_active.amax((0, 2)), of_others.amax((0, 2)) / self.S**2], 1)
        for q, k in (largest > self.worst[row]).nonzero().tolist():
            self.worst[row, q, k] = largest[q, k]
            if k == 0:
                at, place = divmod(int(of_active[:, q].argmax()), self.z)
                circuit = int(active[at, place])
            else:
                circuit, at = divmod(int(of_others[:, q].argmax()), len(active))
            self.where[row, q, k] = circuit, active[at].clone(), a0[at].clone()

    def result(self, samples: int) -> Measurement:
        """The tables of a finished run over `samples` inputs."""
        errors, circuits = [], []
        mean = self.sums / samples
        spread = (self.squares / samples - mean.square()).clamp(min=0) / max(samples - 1, 1)
        for (row, q, k), (circuit, active, a0) in sorted(self.where.items()):
            errors.append(
                {
                    "z": self.z,
                    "layer": row + 1,
                    "quantity": self.names[q],
                    "circuits": ("active", "inactive")[k],
                    "mse": float(mean[row, q, k]),
                    "mse_stderr": float(spread[row, q, k].sqrt()),
                    "worst": float(self.worst[row, q, k].sqrt()),
                    "samples": samples,
                    "worst_circuit": circuit,
                    "worst_active": tuple(active.tolist()),
                    "worst_a0": a0.cpu().numpy(),
                }
            )
        activity = [
            {
                "z": self.z,
                "layer": row + 1,
                "block": block,
                "fraction": float(on) / (samples * self.n),
            }
            for row, blocks in enumerate(self.on)
            for block, on in enumerate(blocks)
        ]
        for row, quantities in enumerate((self.each / self.times).cpu().numpy()):
            for name, mse in zip(self.names, quantities, strict=True):
                head = {"z": self.z, "layer": row + 1, "quantity": name}
                tail = {"circuit": range(self.T), "mse": mse, "samples": self.times.cpu().numpy()}
                circuits.append(pd.DataFrame({**head, **tail}))
        frame = pd.concat(circuits, ignore_index=True)
        return Measurement(pd.DataFrame(errors), pd.DataFrame(activity), frame)
