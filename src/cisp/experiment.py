"""Seeded runs of a network beside the oracle, streamed into statistics (section 4)."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import combinations, islice
from math import comb, inf
from threading import Lock
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from cisp.arguments import count
from cisp.inputs import Seed
from cisp.network import Network
from cisp.tally import Measurement, Tally

DRAWN = 4096  # inputs are drawn in lots of this many, whatever the batch, so batches change nothing

FITTING = 2**22  # the most entries of an array (T, d, batch) unless batch is given

ONE_AT_A_TIME = Lock()  # torch's number of threads belongs to the whole process


def _in_a_fork() -> None:
    """Let go of what a forked process has inherited: a lock, and threads that it does not have.

    For torch's threads, once used, do not live on in a fork, which would wait for them for ever.
    """
    global ONE_AT_A_TIME
    ONE_AT_A_TIME = Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_in_a_fork)

AGAIN = 512  # of a run of every active set, about so many are run with a second a^0

Lot = tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z d"]]
Again = tuple[Int[Tensor, "again z"], Float[Tensor, "again z d"]]
Part = tuple[Lot, Again | None, slice]  # inputs; some of their active sets again, and which


def measure(
    network: Network,
    *,
    z: int | Mapping[int, float | int],
    samples: int | Literal["all"] | None = None,
    rng: Seed = 0,
    device: torch.device | str | None = None,
    batch: int | None = None,
    progress: bool | None = None,
) -> Measurement:
    """Errors of all T read-outs in all layers over many inputs with z active circuits.

    Active sets are drawn uniformly without replacement. samples="all" runs every set once, as does
    leaving it out at z = 1; some sets then run with a second a^0, which enters the standard error
    alone. Inputs are streamed: memory grows with `batch` (by default what suits the cache), not
    with `samples`, and results depend on `batch` by rounding alone. progress: a bar if True, none
    if False, by default where the output is a terminal.

    z may vary from input to input: {1: 0.7, 2: 0.3} draws it for each, and the tables have rows for
    each z, with how many inputs it came to in `samples`.
    """
    return _measure(network, z, samples, rng, device, batch, progress, _keep_all)


def measure_masked(
    network: Network,
    *,
    z: int | Mapping[int, float | int],
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


def shown(progress: bool | None) -> dict[str, Any]:
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
    z: int | Mapping[int, float | int],
    samples: int | Literal["all"] | None,
    rng: Seed,
    device: torch.device | str | None,
    batch: int | None,
    progress: bool | None,
    keep: Callable[[Network, Tensor], Tensor | None],
) -> Measurement:
    if isinstance(z, Mapping):
        return _mixed(network, z, samples, rng, device, batch, progress, keep)
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
    lots = _all_lots(network, z, total, rng) if every else _drawn_lots(network, z, total, rng)
    tally = Tally(network, z)
    with tqdm(total=total, unit="inputs", **shown(progress)) as bar:
        for part in _in_threads(lambda x: _run_lot(network, *x, batch, keep, tally.worst), lots):
            tally.merge(part)
            bar.update(part.samples)
    return tally.result()


def _mixed(
    network: Network,
    shares: Mapping[int, float | int],
    samples: int | Literal["all"] | None,
    rng: Seed,
    *run: Any,
) -> Measurement:
    """Inputs of which each has a z of its own, drawn by its share."""
    rng, given = np.random.default_rng(rng), [*shares.values()]
    if not shares or min(given) < 0 or not 0 < sum(given) < inf:
        raise ValueError(f"z={dict(shares)} is not allowed; shares must not be negative, nor all 0")
    if samples is None or isinstance(samples, str):
        raise ValueError(f"samples={samples!r} is not allowed with shares of z; give a number")
    each = rng.multinomial(count("samples", samples), np.array(given) / sum(given))
    found = [
        _measure(network, z, int(k), rng, *run) for z, k in zip(shares, each, strict=True) if k
    ]
    tables = zip(*((m.errors, m.activity, m.circuits) for m in found), strict=True)
    return Measurement(*(pd.concat(table, ignore_index=True) for table in tables))


def _on_device(network: Network, device: torch.device | str) -> Network:
    """A copy of the network on the device."""
    with torch.no_grad():
        circuits, w_mean = network.circuits.to(device), network.w_mean.to(device)
    return Network(circuits, network.wiring, w_mean)


def _run_lot(
    network: Network,
    lot: Lot,
    again: Again | None,
    some: slice,
    batch: int,
    keep: Callable[[Network, Tensor], Tensor | None],
    worst: np.ndarray,
) -> Tally:
    """The tally of one lot of inputs; cases no worse than `worst` are not noted."""
    tally = Tally(network, lot[0].shape[1])
    tally.worst = worst.copy()
    with torch.no_grad():
        found = _run(network, lot, batch, keep, tally)
        if again:
            other = _run(network, again, batch, keep, Tally(network, tally.z))
            tally.compare(torch.cat(list(found), -1)[..., some], torch.cat(list(other), -1))
        else:
            deque(found, maxlen=0)  # nothing is held on to
    return tally


def _run(
    network: Network,
    lot: Lot,
    batch: int,
    keep: Callable[[Network, Tensor], Tensor | None],
    tally: Tally,
) -> Iterator[Float[Tensor, "layers quantities 2 some"]]:
    """The squared errors of each input, run in batches and added to the tally."""
    active, a0 = lot
    a = network.circuits.run(a0, active)[1:]
    for start in range(0, len(active), batch):
        some = slice(start, start + batch)
        A0 = network.embed(a0[some], active[some]).permute(2, 1, 0)
        stream = network.stream(A0, keep(network, active[some]))
        yield tally.add(stream, a[:, some], active[some], a0[some])


def _in_threads(function: Callable[[Part], Tally], lots: Iterator[Part]) -> Iterator[Tally]:
    """The function's results in order, from as many threads as torch uses.

    A lot in each thread, torch within it on one, is faster than one lot after another with torch on
    all: the arrays are too small to be shared out well.
    """
    torch.empty(31 << 20, dtype=torch.uint8)  # once freed, glibc keeps blocks this size at hand
    with ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        waiting: deque[Future[Tally]] = deque()
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


def _drawn_lots(network: Network, z: int, total: int, rng: Seed) -> Iterator[Part]:
    rng = np.random.default_rng(rng)
    for start in range(0, total, DRAWN):
        yield network.sample(batch=min(DRAWN, total - start), z=z, rng=rng), None, slice(0)


def _all_lots(network: Network, z: int, total: int, rng: Seed) -> Iterator[Part]:
    rng = np.random.default_rng(rng)
    (second,), stride = rng.spawn(1), -(-total // AGAIN)
    sets, draw = combinations(range(network.T), z), network.circuits.sample_inputs
    while rows := list(islice(sets, DRAWN)):
        active = torch.tensor(rows, device=network.tables.device)
        some = slice(int(second.integers(min(stride, len(rows)))), None, stride)
        picked = active[some]
        again = picked, draw(batch=len(picked), z=z, rng=second, active=picked)
        yield (active, draw(batch=len(rows), z=z, rng=rng, active=active)), again, some
