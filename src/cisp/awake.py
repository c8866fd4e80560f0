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
from cisp.layers import Layer
from cisp.network import Network

ON = 1e-4  # a neuron above this counts as active (post, figure 7)

WORTH = 4e8  # numbers that an ordinary pass multiplies, from which on compiled loops pay
TRIED = 16  # inputs to try by themselves
ALONE = 7  # what a circuit that is met costs an input by itself, against one of many
CHUNK = 2**27  # numbers that an ordinary pass multiplies between two chances to stop
LANES, FITTING = 64, 2**24  # inputs at once, and numbers in a layer of so many

Index = Integer[np.ndarray, "..."]
Numbers = Float[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class Facts:
    """A network as arrays; C = T S entries of a table, sorted by position.

    tables (L, T, S). bias (L, d). maps (1 or T, K, d) and ends (Q,): the quantities' rows.
    of (L,): which of the stored layers follows layer l. Of each stored layer, by position: starts
    (n+1,) and circuits (C,); M (C, d, d), what the position sends each, and to (C, S) where. first
    (T,): one entry for each circuit. N (1 or n, d, d): what a position sends by itself, to
    places[ways[p]:ways[p+1]]; so position p hears behind[back[p]:back[p+1]]. G (d, d): what each
    sends to all.
    """

    tables: Index
    starts: Index
    circuits: Index
    of: Index
    M: Numbers
    to: Index
    first: Index
    N: Numbers
    ways: Index
    places: Index
    back: Index
    behind: Index
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
        flags = np.zeros(network.T, np.int32), np.zeros(n, np.int32)
        one = np.zeros((n, d), kind), np.empty((n, d), kind), np.empty((network.T, d), kind), *flags
        lanes = min(LANES, max(FITTING // network.D, 8))
        many = np.empty((2, n, d, lanes), kind)
        chunk = max(CHUNK // (f.tables.size * d) // lanes, 1) * lanes
        while done < len(sets):
            some = slice(done, done + (chunk if done else TRIED))
            found = _nothing(f, len(sets[some]), sets.shape[1])
            out = ON, masked, *vars(found).values()
            if alone:
                met = kernels.by_input(
                    X[some], sets[some], *_but(f, "first", "back", "behind"), *out, *one
                )
                every = network.L * network.T * len(sets[some])
                alone = done > 0 or met * ALONE < every
            else:
                kernels.together(
                    X[some],
                    sets[some],
                    *_but(f, "starts", "circuits", "to", "ways", "places"),
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
    L, T, S = network.tables.shape
    alike = network.L > 2 and _alike(network)
    tables = network.tables.contiguous().numpy().astype(np.uint32)
    of = np.zeros(L, np.uint32) if alike else np.arange(L, dtype=np.uint32)
    stored = tables[:1] if alike else tables
    order = stored.reshape(len(stored), -1).argsort(1, kind="stable")
    circuits = (order // S).astype(np.uint32)
    load = [np.bincount(table.ravel(), minlength=network.n) for table in stored]
    links = [_links(network, layer) for layer in range(2, 3 if alike else L + 1)]
    M, N, G, ways, places, back, behind = ([link[k] for link in links] for k in range(7))
    if all((each == each[:1]).all() for each in N):
        N = [each[:1] for each in N]
    first = np.stack([np.unique(row, return_index=True)[1] for row in circuits])
    before = np.cumsum([0, *(len(each) for each in places)])[: len(links), None]
    return Facts(
        tables=tables,
        starts=_starts(np.stack(load)),
        circuits=circuits,
        of=of,
        M=np.stack([m[c] for m, c in zip(M, circuits, strict=False)]),
        to=np.stack([after[c] for after, c in zip(tables[1:], circuits, strict=False)]),
        first=first.astype(np.uint32),
        N=np.stack(N),
        ways=(np.stack(ways) + before).astype(np.uint32),
        places=np.concatenate(places).astype(np.uint32),
        back=(np.stack(back) + before).astype(np.uint32),
        behind=np.concatenate(behind).astype(np.uint32),
        G=np.stack(G),
        bias=np.stack([network.at(layer)[1].detach().numpy() for layer in range(1, L + 1)]),
        maps=maps.reshape(-1, *maps.shape[-2:]).to(network.w.dtype).numpy().copy(),
        ends=np.array([each.stop for each in rows]),
    )


def _alike(network: Network) -> bool:
    """Whether all layers are one, weights and all."""
    same = all(layer is network.wiring.layers[0] for layer in network.wiring.layers)
    return same and network.w.ndim == 3 and network.w_mean.ndim == 2


def _starts(load: Index) -> Index:
    return np.pad(load.cumsum(-1), ((0, 0), (1, 0))).astype(np.uint32)


def _links(network: Network, layer: int) -> tuple[np.ndarray, ...]:
    """M (T, d, d), N, G, ways, places, back and behind of layer 2..L.

    Of the layer's sums the first T are the circuits', the next n hand on to one position each, and
    one more, if it is there, joins all positions.
    """
    T, n, d = network.T, network.n, network.d
    facts = network.wiring.layers[layer - 2]
    assert isinstance(facts, Layer)
    matrices = facts.matrices(network.at(layer)[0], network.mean(layer), network.chi[layer - 1])
    M, N, *rest = matrices.split([T, n, len(matrices) - T - n])
    gather = facts.gather
    own = (gather.bags >= T) & (gather.bags < T + n)
    before = torch.cat([own.new_zeros(1, dtype=torch.int64), own.cumsum(0)])
    ways = before[torch.cat([gather.ends, own.new_tensor([len(own)], dtype=torch.int64)])]
    back = torch.cat([gather.starts, own.new_tensor([len(own)], dtype=torch.int64)])[T : T + n + 1]
    behind = gather.rows[back[0] : back[-1]]
    G = rest[0][0] if len(rest[0]) else matrices.new_zeros(d, d)
    return tuple(x.numpy() for x in (M, N, G, ways, gather.bags[own] - T, back - back[0], behind))
