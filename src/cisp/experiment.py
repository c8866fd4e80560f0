"""Seeded runs of a network beside the oracle, streamed into statistics (section 4)."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from itertools import combinations, islice
from math import inf
from threading import Event, Lock
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from cisp.arguments import (
    all_sets,
    count,
    flag,
    function,
    generator,
    instance,
    number,
    refuse,
    told,
)
from cisp.awake import Awake, awake
from cisp.inputs import Seed, device_of
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
Stream = Iterator[tuple[Tensor, Tensor]]
Run = Callable[[Network, Tensor, Tensor], Stream]
Model = Callable[[Tensor], Sequence[Tensor] | Tensor]
Squares = Iterator[Float[Tensor, "layers quantities 2 some"]]
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
    model: Model | None = None,
) -> Measurement:
    """Errors of all T read-outs in all layers over many inputs with z active circuits.

    Active sets are drawn uniformly without replacement. samples="all" runs every set once, as does
    leaving it out at z = 1; some sets then run with a second a^0, which enters the standard error
    alone. Inputs are streamed: memory grows with `batch` (by default what suits the cache), not
    with `samples`, and results depend on `batch` by rounding alone. Much work on the CPU in single
    or double precision runs in compiled loops (`cisp.awake`), which choose their own. progress: a
    bar if True, none if False, by default where the output is a terminal.

    z may vary from input to input: {1: 0.7, 2: 0.3} draws it for each, and the tables have rows for
    each z, with how many inputs it came to in `samples`.

    model: measured in the network's place, with its inputs, truth and read-outs: any function of
    A^0 (batch, D) that gives the activations A^1..A^L, each (batch, D), or A^0..A^L; a dense copy
    that was trained or pruned, say, or the network with a patch. It runs in several threads.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> errors = measure(network, z=1).errors
    >>> cisp.rows(errors, layer=1, quantity="rotation", circuits="active").mse.item() < 1e-12
    True
    """
    if model is not None:
        function("model", model)
    run = _whole if model is None else partial(_of_model, model)
    return _measure(network, z, samples, rng, device, batch, progress, run)


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

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> measure_masked(network, z=1).errors.circuits.unique().tolist()
    ['active', 'inactive']
    """
    return _measure(network, z, samples, rng, device, batch, progress, _masked)


def shown(progress: bool | None) -> dict[str, Any]:
    """Arguments for tqdm; disable=None leaves the bar to terminals."""
    return {"disable": None if flag("progress", progress) is None else not progress}


def _whole(network: Network, A0: Tensor, active: Tensor) -> Stream:
    return network.stream(A0)


def _masked(network: Network, A0: Tensor, active: Int[Tensor, "batch z"]) -> Stream:
    """The stream, its layers multiplied by 1 on the positions of active circuits, 0 elsewhere."""
    positions = network.tables[:, active].flatten(2).mT  # (L, z S, batch)
    kept = network.w.new_zeros(network.L, network.n, len(active)).scatter(1, positions, 1.0)
    return network.stream(
        A0, {layer: partial(torch.mul, mask.T.unsqueeze(1)) for layer, mask in enumerate(kept, 1)}
    )


def _of_model(model: Model, network: Network, A0: Tensor, active: Tensor) -> Stream:
    """What the stream would be with a model's activations A^1..A^L in the network's place."""
    found = [A.reshape(len(A), -1) for A in model(A0.permute(2, 1, 0).flatten(1))]
    shapes, one = [tuple(A.shape) for A in found], (len(active), network.D)
    if shapes not in ([one] * network.L, [one] * (network.L + 1)):
        raise ValueError(
            f"model gives activations of shapes {shapes[:8]}; it must give A^1..A^{network.L} or "
            f"A^0..A^{network.L}, each {one}"
        )
    blocks = (A.unflatten(1, (network.d, network.n)).to(A0) for A in found[-network.L :])
    return network.read(A.permute(2, 1, 0) for A in blocks)


def _measure(
    network: Network,
    z: int | Mapping[int, float | int],
    samples: int | Literal["all"] | None,
    rng: Seed,
    device: torch.device | str | None,
    batch: int | None,
    progress: bool | None,
    run: Run,
) -> Measurement:
    instance("network", network, Network)
    rng, progress = generator(rng), flag("progress", progress)
    if isinstance(z, Mapping):
        return _mixed(network, z, samples, rng, device, batch, progress, run)
    count("z", z, high=network.T)
    fitting = FITTING // (max(network.T, network.n) * network.d)  # arrays should stay in the cache
    batch = min(max(fitting, 8), 384) if batch is None else count("batch", batch)
    every = isinstance(samples, str) or (samples is None and z == 1)
    if isinstance(samples, str) and samples != "all":
        raise ValueError(
            f'samples={samples!r} is not allowed; it must be a number of inputs or "all"'
        )
    if samples is None and not every:
        raise ValueError(f'samples=None needs z=1, but z={z}; give a number of inputs or "all"')
    total = all_sets(network.T, z) if every else count("samples", samples)
    network = network if device is None else _on_device(network, device_of("device", device))
    lots = _all_lots(network, z, total, rng) if every else _drawn_lots(network, z, total, rng)
    tally = Tally(network, z)
    ready = awake(network, tally.maps, tally.rows, total) if run in (_whole, _masked) else None
    how = partial(_run, network, batch, run) if ready is None else partial(_quick, ready, run)
    stop = Event()
    with tqdm(total=total, unit="inputs", **shown(progress)) as bar:

        def step(inputs: int) -> None:
            with bar.get_lock():
                bar.update(inputs)
            if stop.is_set():
                raise CancelledError

        def run_lot(part: Part) -> Tally:
            return _run_lot(network, *part, how, step, tally.worst)

        for part in _in_threads(run_lot, lots, stop):
            tally.merge(part)
    return tally.result()


def _mixed(
    network: Network,
    shares: Mapping[int, float | int],
    samples: int | Literal["all"] | None,
    rng: np.random.Generator,
    *run: Any,
) -> Measurement:
    """Inputs of which each has a z of its own, drawn by its share."""
    if not shares:
        refuse("z", shares, "a number, or a share for each number")
    for k, share in shares.items():
        count("z", k, high=network.T), number(f"z[{k}]", share, low=0)
    given = np.array([*shares.values()], dtype=float)
    if not 0 < given.sum() < inf:
        raise ValueError(f"z={told(dict(shares))} is not allowed; shares must not be all 0")
    if samples is None or isinstance(samples, str):
        raise ValueError(f"samples={samples!r} is not allowed with shares of z; give a number")
    each = rng.multinomial(count("samples", samples), given / given.sum())
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
    how: Callable[[Lot, Tally], Squares],
    step: Callable[[int], None],
    worst: np.ndarray,
) -> Tally:
    """The tally of one lot of inputs; cases no worse than `worst` are not noted."""
    tally = Tally(network, lot[0].shape[1])
    tally.worst = worst.copy()
    with torch.no_grad():
        found = _stepped(how(lot, tally), step)
        if again:
            other = how(again, Tally(network, tally.z))
            tally.compare(torch.cat(list(found), -1)[..., some], torch.cat(list(other), -1))
        else:
            deque(found, maxlen=0)  # nothing is held on to
    return tally


def _stepped(found: Squares, step: Callable[[int], None]) -> Squares:
    for squares in found:
        step(squares.shape[-1])
        yield squares


def _run(network: Network, batch: int, run: Run, lot: Lot, tally: Tally) -> Squares:
    """The squared errors of each input, run in batches and added to the tally."""
    active, a0 = lot
    a = network.circuits.run(a0, active)[1:]
    for start in range(0, len(active), batch):
        some = slice(start, start + batch)
        A0 = network.embed(a0[some], active[some]).permute(2, 1, 0)
        stream = run(network, A0, active[some])
        yield tally.add(stream, a[:, some], active[some], a0[some])


def _quick(ready: Awake, run: Run, lot: Lot, tally: Tally) -> Squares:
    """The same of a network that is ready to pay for what is awake only."""
    active, a0 = lot
    a = ready.network.circuits.run(a0, active)[1:]
    for some, found in ready.run(a0, active, masked=run is _masked):
        yield tally.found(found, a[:, some], active[some], a0[some])


def _in_threads(
    function: Callable[[Part], Tally], lots: Iterator[Part], stop: Event
) -> Iterator[Tally]:
    """The function's results in order, from as many threads as torch uses.

    A lot in each thread, torch within it on one, is faster than one lot after another with torch on
    all: the arrays are too small to be shared out well.
    """
    torch.empty(
        31 << 20, dtype=torch.uint8, device="cpu"
    )  # once freed, glibc keeps blocks this size at hand
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
            stop.set()  # lots that still run end with their batch
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _drawn_lots(network: Network, z: int, total: int, rng: np.random.Generator) -> Iterator[Part]:
    for start in range(0, total, DRAWN):
        yield network.sample(batch=min(DRAWN, total - start), z=z, rng=rng), None, slice(0)


def _all_lots(network: Network, z: int, total: int, rng: np.random.Generator) -> Iterator[Part]:
    (second,), stride = rng.spawn(1), -(-total // AGAIN)
    sets, draw = combinations(range(network.T), z), network.circuits.sample_inputs
    while rows := list(islice(sets, DRAWN)):
        active = torch.tensor(rows, device=network.tables.device)
        some = slice(int(second.integers(min(stride, len(rows)))), None, stride)
        picked = active[some]
        again = picked, draw(batch=len(picked), z=z, rng=second, active=picked)
        yield (active, draw(batch=len(rows), z=z, rng=rng, active=active)), again, some
