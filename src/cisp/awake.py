"""Runs of a network that pay for what is awake, or for all of it where most of it is.

The same layers as `Network.stream`, in loops that are compiled. At a few active circuits most
positions sleep, and all that they would send is exactly 0. One input at a time, a layer then costs
its awake positions times the circuits that each is in, and one look at every position. Where much
is awake, many inputs at a time share what is read of each circuit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from cisp.channels import Channels
from cisp.layers import Bags, Layer
from cisp.network import Network

ON = 1e-4  # a neuron above this counts as active (post, figure 7)

WORTH = 4e8  # numbers that an ordinary pass multiplies, from which on compiled loops pay
TRIED = 16  # inputs to try by themselves
ALONE = 4  # what a circuit that is met costs an input by itself, against one of many
CHUNK = 2**27  # numbers that an ordinary pass multiplies between two chances to stop
LONGER = 8  # times as many inputs, at most, where little is awake
LANES, FITTING = 64, 2**24  # inputs at once, and numbers in a layer of so many

Index = Integer[np.ndarray, "..."]
Numbers = Float[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class Facts:
    """A network as arrays.

    Layer l has the table places[l] of those stored, and is followed by the weights of[l].
    Of each table (T, S), the C = T S entries by position: starts (n+1,) and circuits (C,), and what
    positions hand on by themselves, from p to to[ways[p]:ways[p+1]], so that p hears
    behind[back[p]:back[p+1]]. Of each weights: M (T, d, d), what a circuit sends of what it reads,
    N (1 or n, d, d), what a position sends by itself, and G (d, d), what each sends to all.
    bias (L, d). maps (1 or T, K, d) and ends (Q,): the quantities' rows.
    """

    places: Index
    of: Index
    tables: Index
    starts: Index
    circuits: Index
    ways: Index
    to: Index
    back: Index
    behind: Index
    M: Numbers
    N: Numbers
    G: Numbers
    bias: Numbers
    maps: Numbers
    ends: Index


@dataclass(frozen=True, eq=False)
class Found:
    """What some inputs gave, read-outs times S: on (L, d) neurons, picked (L, batch, z, K) of the
    active circuits, and of the others totals (L, Q, batch) squares, tops the largest, and whose.
    """

    on: Index
    picked: Numbers
    totals: Numbers
    tops: Numbers
    who: Index


class Awake:
    """A network ready to be run so, with what `quantities` are read of its circuits.

    maps: (k, d) for all circuits, or (T, k, d). rows: which of these make up each quantity.
    """

    def __init__(self, network: Network, maps: Tensor, rows: list[slice]) -> None:
        self.network = network
        with torch.no_grad():
            self.facts = _facts(network, maps, rows)

    def run(
        self,
        a0: Float[Tensor, "batch z d"],
        active: Int[Tensor, "batch z"],
        *,
        masked: bool = False,
    ) -> Iterator[tuple[slice, Found]]:
        """What the inputs gave, some at a time. masked: as in `measure_masked`."""
        from cisp import kernels  # compiled at the first call

        network, f = self.network, self.facts
        n, d, kind = network.n, network.d, f.bias.dtype
        X = torch.einsum("bzij,bzj->bzi", network.at(1)[0][active], a0).contiguous().numpy()
        sets, alone, done = active.contiguous().numpy(), True, 0
        blocks, T = -(-n // kernels.BLOCK), network.T
        awake = np.zeros((blocks * kernels.BLOCK, d), kind), np.empty((n, d), kind)
        met = np.zeros((d, T), kind), np.zeros(T, np.uint32), np.zeros(T, np.uint32)
        one = *awake, *met, np.zeros(blocks, np.uint8), np.zeros(n, np.int32)
        lanes = min(LANES, max(FITTING // network.D, 8))
        four = (0,) * 4 if d == 4 else ()
        many = np.empty((2, n, d, lanes), kind)
        chunk = max(CHUNK // (network.tables.numel() * d) // lanes, 1) * lanes
        size = TRIED
        while done < len(sets):
            some, size = slice(done, done + size), chunk
            found = _nothing(f, len(sets[some]), sets.shape[1])
            out = ON, masked, *vars(found).values()
            if alone:
                count = kernels.by_input(
                    X[some], sets[some], *_but(f, "back", "behind"), *out, *one, four
                )
                every = network.L * network.T * len(sets[some])
                alone = done > 0 or count * ALONE < every
                size = chunk * max(min(int(every / (count * ALONE + 1)), LONGER), 1)
            else:
                kernels.together(
                    X[some],
                    sets[some],
                    *_but(f, "starts", "circuits", "ways", "to"),
                    *out,
                    *many,
                )
            yield some, found
            done = min(some.stop, len(sets))


def awake(network: Network, maps: Tensor, rows: list[slice], inputs: int) -> Awake | None:
    """The network ready to be run so, or None where the ordinary passes serve better.

    These serve little work, other devices, half precision, hooks on layers, and `Channels`.
    """
    much = inputs * network.L * network.T * network.S * network.d > WORTH
    plain = network.w.device.type == "cpu" and network.w.dtype in (torch.float32, torch.float64)
    fits = network.L > 1 and not isinstance(network.wiring, Channels)
    return Awake(network, maps, rows) if much and plain and fits and _bare(network) else None


def _bare(network: Network) -> bool:
    """Whether nobody listens to its layers, or has put something else in their place."""
    heard = any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    own = type(network) is Network and all(type(relu) is nn.ReLU for relu in network.layers)
    return own and not heard and not nn.modules.module._has_any_global_hook()


def _but(facts: Facts, *names: str) -> list[np.ndarray]:
    return [getattr(facts, f.name) for f in fields(facts) if f.name not in names]


def _nothing(facts: Facts, batch: int, z: int) -> Found:
    L, d = facts.bias.shape
    Q, kind = len(facts.ends), facts.bias.dtype
    return Found(
        on=np.zeros((L, d), np.int64),
        picked=np.zeros((L, batch, z, facts.maps.shape[1]), kind),
        totals=np.zeros((L, Q, batch)),
        tops=np.zeros((L, Q, batch), kind),
        who=np.zeros((L, Q, batch), np.uint32),
    )


def _facts(network: Network, maps: Tensor, rows: list[slice]) -> Facts:
    L, T, n, wiring = network.L, network.T, network.n, network.wiring
    one_table = not bool((network.tables != network.tables[:1]).any())
    one_table &= all(layer is wiring.layers[0] for layer in wiring.layers)
    tables = network.tables[: 1 if one_table else L].numpy()
    like = [_like(network, layer) if one_table else layer for layer in range(2, L + 1)]
    distinct = sorted(set(like))
    sums = [_of(network, layer).gather for layer in range(2, 3 if one_table else L + 1)]
    assert isinstance(wiring.last, Bags)
    read = [_listed(each, 0, T) for each in [*sums, wiring.last][: len(tables)]]
    starts, circuits = zip(*read, strict=True)
    ways, to = zip(*(_listed(each, T, T + n) for each in sums), strict=True)
    back, behind = zip(*(_summed(each, T, T + n) for each in sums), strict=True)
    before = np.cumsum([0, *map(len, to)])[: len(to), None]
    M, N, G = zip(*(_links(network, layer) for layer in distinct), strict=True)
    return Facts(
        places=np.arange(L, dtype=np.uint32) * (not one_table),
        of=np.array([distinct.index(layer) for layer in [*like, 2]], np.uint32),
        tables=tables.astype(np.uint16 if n <= 2**16 else np.uint32, order="C"),
        starts=np.stack(starts).astype(np.uint32),
        circuits=np.stack(circuits).astype(np.uint32),
        ways=(np.stack(ways) + before).astype(np.uint32),
        to=np.concatenate(to).astype(np.uint32),
        back=(np.stack(back) + before).astype(np.uint32),
        behind=np.concatenate(behind).astype(np.uint32),
        M=np.stack(M),
        N=np.stack([each[:1] for each in N] if all((n == n[:1]).all() for n in N) else N),
        G=np.stack(G),
        bias=np.stack([network.at(layer)[1].detach().numpy() for layer in range(1, L + 1)]),
        maps=maps.reshape(-1, *maps.shape[-2:]).to(network.w.dtype).numpy().copy(),
        ends=np.array([each.stop for each in rows]),
    )


def _like(network: Network, layer: int) -> int:
    """The first of layers 2..L with the weights of this one."""

    def same(other: int) -> bool:
        pairs = zip(*((network.at(k)[0], network.mean(k)) for k in (other, layer)), strict=True)
        return all(torch.equal(*pair) for pair in pairs)

    return next(other for other in range(2, layer + 1) if same(other))


def _listed(bags: Bags, first: int, past: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, which of the sums first..past-1 it is in, less first: from where on, and all."""
    own = (bags.bags >= first) & (bags.bags < past)
    before = torch.cat([own.new_zeros(1, dtype=torch.int64), own.cumsum(0)])
    starts = before[torch.cat([bags.ends, bags.ends.new_tensor([len(own)])])]
    return starts.numpy(), (bags.bags[own] - first).numpy()


def _summed(bags: Bags, first: int, past: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the sums first..past-1: from where on, and all."""
    starts = torch.cat([bags.starts, bags.starts.new_tensor([len(bags.rows)])])[first : past + 1]
    return (starts - starts[0]).numpy(), bags.rows[starts[0] : starts[-1]].numpy()


def _links(network: Network, layer: int) -> tuple[np.ndarray, ...]:
    """M, N and G of layer 2..L.

    Of the layer's sums the first T are the circuits', the next n hand on to one position each, and
    one more, if it is there, joins all positions.
    """
    T, n, d = network.T, network.n, network.d
    w, mean, chi = network.at(layer)[0], network.mean(layer), network.chi[layer - 1]
    matrices = _of(network, layer).matrices(w, mean, chi)
    M, N, *rest = matrices.split([T, n, len(matrices) - T - n])
    G = rest[0][0] if len(rest[0]) else matrices.new_zeros(d, d)
    return tuple(x.numpy() for x in (M, N, G))


def _of(network: Network, layer: int) -> Layer:
    found = network.wiring.layers[layer - 2]
    assert isinstance(found, Layer)
    return found
