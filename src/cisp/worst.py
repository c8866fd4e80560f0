"""The worst error of an active circuit, looked for over sets of circuits and over their inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb, inf
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from cisp.allocation import random_subsets
from cisp.arguments import all_sets, count, generator, instance, one_of, positive
from cisp.awake import Awake, awake
from cisp.experiment import shown
from cisp.inputs import Seed, unit
from cisp.network import Network

BATCH, FITTING = 256, 2**22  # inputs run at a time, and the most numbers that circuits then send
STRIDE, SHRINK = 0.7, 0.9  # the first step along the sphere, and what each step is of the last
MOST = 10**5  # steps, swaps and starts
TINY = 1e-30  # a gradient of 0 moves nothing

Lot = tuple[Int[Tensor, "batch z"], Float[Tensor, "batch z k"]]  # active circuits, directions
Found = tuple[Tensor, Tensor, Tensor]  # squared errors (batch,), and the lot that gives them


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The largest error found of an active circuit, and the input that gives it.

    error: |estimate - truth| of the quantity. layer, circuit: where. active (z,), a0 (z, d): the
    input. scanned: how many sets were run, of the `sets` that there are.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> found = cisp.worst_case(network, z=1)
    >>> found.quantity, len(found.active)
    ('rotation', 1)
    """

    error: float
    quantity: str
    layer: int
    circuit: int
    active: Int[Tensor, " z"]
    a0: Float[Tensor, "z d"]
    scanned: int
    sets: int


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be made large: the error of one quantity from some layer on."""

    network: Network
    name: str
    first: int
    map: Float[Tensor, "*T k d"]
    quick: Awake | None

    def errors(self, active: Int[Tensor, "b z"], u: Tensor) -> Float[Tensor, "layers b z"]:
        """The squared error of each active circuit, layer by layer, with inputs along u."""
        network, circuits = self.network, self.network.circuits
        a0, rows = self.inputs(u), torch.arange(len(active), device=u.device).unsqueeze(1)
        a = circuits.run(a0, active)
        stream = network.stream(network.embed(a0, active).permute(2, 1, 0))
        found = [
            self._read(gathered[active, :, rows] / network.S - a[layer], active)
            for layer, (_, gathered) in enumerate(stream, 1)
            if layer >= self.first
        ]
        return torch.stack(found).square().sum(-1)

    def _read(self, delta: Tensor, active: Tensor) -> Tensor:
        return self.network.circuits.quantities(delta, active).get(self.name, delta)

    def largest(self, active: Int[Tensor, "b z"], u: Tensor) -> Float[Tensor, " b"]:
        """The largest squared error of each input."""
        if self.quick is None or torch.is_grad_enabled():
            return self.errors(active, u).amax((0, 2))
        a0, network = self.inputs(u), self.network
        a = network.circuits.run(a0, active)[self.first :]
        found = [lot.picked[self.first - 1 :] for _, lot in self.quick.run(a0, active)]
        read = torch.from_numpy(np.concatenate(found, 1)) / network.S
        maps = self.map[active] if self.map.ndim == 3 else self.map
        true = (maps @ a.unsqueeze(-1)).squeeze(-1)
        return (read - true).square().sum(-1).amax((0, 2))

    def inputs(self, u: Float[Tensor, "b z k"]) -> Float[Tensor, "b z d"]:
        """The circuits' inputs a^0 along the unit vectors u."""
        circuits = self.network.circuits
        return circuits.input_mean + u @ circuits.input_map.T


def worst_case(
    network: Network,
    *,
    z: int,
    samples: int | Literal["all"] = "all",
    quantity: str | None = None,
    first: int = 1,
    keep: int = 200,
    starts: int = 4,
    steps: int = 40,
    swaps: int = 200,
    enough: float | int | None = None,
    rng: Seed = 0,
    progress: bool | None = None,
) -> WorstCase:
    """The largest error of an active circuit that is found, over sets of z and over their inputs.

    Every set is run once, or `samples` sets drawn at random, each with an input drawn at random.
    The `keep` sets with the largest errors then improve: `swaps` times one circuit of each, with
    its input, makes way for another, where that adds to the error. Last their inputs a^0 =
    input_mean + input_map u are moved along |u| = 1 to where the error is largest: `steps` steps
    along its gradient, from the input found so far and from `starts` - 1 others.

    The result is an error that occurs, hence a lower bound on the true worst. With samples="all" no
    set is left out of the scan, but a set whose one input was harmless may not be looked at again,
    and an ascent can end on a lower hill.

    quantity: a named read-out, the last unless given. first: the first layer that counts. enough:
    an error at which the search may stop. progress: as in `measure`.

    >>> from cisp import conditional_rotations, superpose
    >>> network = superpose(conditional_rotations(T=20), D=100, S=3, L=2)
    >>> found = worst_case(network, z=2, keep=20, steps=10, progress=False)
    >>> found.scanned, len(found.active), found.error > 0.5
    (190, 2, True)
    """
    instance("network", network, Network)
    T, rng = network.T, generator(rng)
    every = isinstance(samples, str)
    sets = all_sets(T, z) if every else comb(T, count("z", z, high=T))
    if every and samples != "all":
        raise ValueError(
            f'samples={samples!r} is not allowed; it must be a number of sets or "all"'
        )
    total = sets if isinstance(samples, str) else count("samples", samples)
    (
        count("keep", keep),
        count("starts", starts, high=MOST),
        count("steps", steps, low=0, high=MOST),
        count("swaps", swaps, low=0, high=MOST),
    )
    inputs = total + min(keep, total) * swaps
    target = _target(network, quantity, count("first", first, high=network.L), inputs)
    stop = inf if enough is None else float(positive("enough", enough)) ** 2
    lots = _every(network, z, rng) if every else _drawn(network, z, total, rng)
    with tqdm(total=total, unit="sets", **shown(progress)) as bar, torch.no_grad():
        found, scanned = _scan(target, lots, keep, stop, bar)
        found = _swap(target, found, swaps, stop, rng)
    if found[0][0] < stop:
        found = _climb(target, found, starts, steps, stop, rng)
    return _told(target, found, scanned, sets)


def _scan(
    target: Target, lots: Iterator[Lot], keep: int, stop: float, bar: tqdm
) -> tuple[Found, int]:
    """The sets with the largest errors, the largest first, and how many were run."""
    best: Found | None = None
    scanned = 0
    for active, u in lots:
        found = target.largest(active, u), active, u
        both = (
            found if best is None else [torch.cat(pair) for pair in zip(best, found, strict=True)]
        )
        best = _first(both, keep)
        scanned += len(active)
        bar.update(len(active))
        if best[0][0] >= stop:
            break
    assert best is not None  # there is always a set
    return best, scanned


def _swap(target: Target, found: Found, swaps: int, stop: float, rng: np.random.Generator) -> Found:
    """The same sets with circuits that make the errors larger, the largest first."""
    T, (error, active, u) = target.network.T, found
    every = torch.arange(len(error), device=error.device)
    for _ in range(swaps if active.shape[1] < T else 0):
        if error.max() >= stop:
            break
        place = torch.from_numpy(rng.integers(active.shape[1], size=len(error))).to(active.device)
        new = torch.from_numpy(rng.integers(T, size=len(error))).to(active)
        tried, along = active.clone(), u.clone()
        tried[every, place] = torch.where(
            (active == new[:, None]).any(1), active[every, place], new
        )
        along[every, place] = _directions(target.network, len(error), 1, rng)[:, 0]
        now = target.largest(tried, along)
        better = now > error
        error = torch.where(better, now, error)
        active = torch.where(better[:, None], tried, active)
        u = torch.where(better[:, None, None], along, u)
    return _first((error, active, u), len(error))


def _climb(
    target: Target, found: Found, starts: int, steps: int, stop: float, rng: np.random.Generator
) -> Found:
    """The same sets, each from several inputs moved to where the error is largest; worst first."""
    _, active, u = found
    more = _directions(target.network, (starts - 1) * len(u), u.shape[1], rng)
    active, u = active.repeat(starts, 1), torch.cat([u, more])
    done: list[Found] = []
    batch = max(min(BATCH, FITTING // (target.network.T * target.network.d)), 1)
    for lot in zip(active.split(batch), u.split(batch), strict=True):
        done.append(_ascend(target, *lot, steps))
        if done[-1][0].max() >= stop:
            break
    return _first([torch.cat(part) for part in zip(*done, strict=True)], len(found[0]))


def _ascend(target: Target, active: Tensor, u: Tensor, steps: int) -> Found:
    """The largest errors met on the way up, and the inputs that give them."""
    top, best = torch.full_like(u[:, 0, 0], -inf), u
    for step in range(steps + 1):
        u = u.detach().requires_grad_()
        error = target.largest(active, u)
        (up,) = torch.autograd.grad(error.sum(), u)
        better, u = error.detach() > top, u.detach()
        top = torch.where(better, error.detach(), top)
        best = torch.where(better[:, None, None], u, best)
        along = up - (up * u).sum(-1, keepdim=True) * u  # the sphere
        length = along.flatten(1).norm(dim=1).clamp(min=TINY)[:, None, None]
        u = _unit(u + STRIDE * SHRINK**step * along / length)
    return top, active, best


def _every(network: Network, z: int, rng: np.random.Generator) -> Iterator[Lot]:
    sets = combinations(range(network.T), z)
    while rows := list(islice(sets, BATCH)):
        active = torch.tensor(rows, device=network.tables.device)
        yield active, _directions(network, len(rows), z, rng)


def _drawn(network: Network, z: int, total: int, rng: np.random.Generator) -> Iterator[Lot]:
    for start in range(0, total, BATCH):
        rows = random_subsets(T=min(BATCH, total - start), n=network.T, S=z, rng=rng)
        active = torch.from_numpy(rows).to(network.tables.device)
        yield active, _directions(network, len(rows), z, rng)


def _directions(network: Network, batch: int, z: int, rng: np.random.Generator) -> Tensor:
    u = rng.normal(size=(batch, z, network.input_map.shape[1]))
    return _unit(torch.from_numpy(u).to(network.w))


def _unit(u: Tensor) -> Tensor:
    return u / u.norm(dim=-1, keepdim=True)


def _first(found: Sequence[Tensor], keep: int) -> Found:
    order = found[0].argsort(descending=True)[:keep]
    return found[0][order], found[1][order], found[2][order]


def _told(target: Target, found: Found, scanned: int, sets: int) -> WorstCase:
    """The first of what was found."""
    active, u = found[1][:1], found[2][:1]
    with torch.no_grad():
        errors = target.errors(active, u)[:, 0]
        a0 = target.inputs(u)[0]
    layer, place = divmod(int(errors.argmax()), active.shape[1])
    return WorstCase(
        error=float(errors.max().sqrt()),
        quantity=target.name,
        layer=target.first + layer,
        circuit=int(active[0, place]),
        active=active[0],
        a0=a0,
        scanned=scanned,
        sets=sets,
    )


def _target(network: Network, quantity: str | None, first: int, inputs: int) -> Target:
    """The quantity, or the last if None; the activations where there is none."""
    if network.circuits.inputs is not None:
        raise ValueError("circuits have inputs of their own; the worst is looked for on spheres")
    readouts = dict(network.circuits.readouts) or {"activations": unit(network.d, network.w)}
    if quantity is not None:
        one_of("quantity", quantity, [*readouts])
    name = quantity or [*readouts][-1]
    quick = awake(network, readouts[name], [slice(0, readouts[name].shape[-2])], inputs)
    return Target(network, name, first, readouts[name], quick)
