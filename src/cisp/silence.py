"""Whether a circuit that runs alone wakes a neuron that is not its own: C12.2 for every pair."""

from collections.abc import Iterator
from math import floor, log10

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse

from cisp.network import Network
from cisp.reach import affine_states, bound, drawn_states, worst

ENTRIES = 2**22  # pairs of a position and a circuit looked at together


def check_silence(network: Network, rng: np.random.Generator) -> None:
    """Raise ValueError if a neuron outside circuit v wakes while v runs alone (C12.2).

    In the extrinsic wiring position p outside v receives, from the circuits t that join it to a
    position q of v, the sum of Delta w_t a_v / (S-1). It stays silent if the bias outweighs that.
    Here that is found for every v, p and layer: for the worst input v can have, where within the
    law of its inputs no ReLU cuts a neuron of a circuit; else for the worst of inputs drawn from
    it. To be quick, only those pairs are looked at whose largest conceivable sum is too large.
    """
    circuits, share = network.circuits, network.S - 1
    outside = [p for p in range(network.n) if p not in network.tables[0, 0]]
    for layer in range(1, network.L + 1 if outside else 0):
        i = int(circuits.at(layer)[1].argmax())
        _refuse_if_on(network, layer, 0.0, i=i, p=outside[0], v=0)
    exact = affine_states(circuits)
    states, affine = (drawn_states(circuits, rng), False) if exact is None else (exact, True)
    layers = range(2, network.L + 1)
    parts = [(circuits.at(k)[0] - network.mean(k)).double() for k in layers]
    room = [_tolerance(network) - circuits.at(k)[1].double() for k in layers]
    if not states:
        return
    most = [bound(w, X, affine).clamp(min=0) for w, X in zip(parts, states, strict=True)]
    push = torch.stack([(m / share / r).amax(-1) for m, r in zip(most, room, strict=True)]).amax(0)
    table = network.tables[0].cpu().numpy()
    for p, v, joining in _suspects(table, push.cpu().numpy(), network.n):
        for layer, (delta, X) in enumerate(zip(parts, states, strict=True), 2):
            own = torch.cat([delta, torch.zeros_like(delta[:1])])  # -1: nobody joins them
            heard = own[torch.from_numpy(joining)].sum(1) / share @ X[torch.from_numpy(v)]
            leak = worst(heard, affine) + circuits.at(layer)[1]
            k, i = divmod(int(leak.argmax()), network.d)
            b = circuits.at(layer)[1][i]
            _refuse_if_on(network, layer, float(leak[k, i] - b), i=i, p=int(p[k]), v=int(v[k]))


def _refuse_if_on(network: Network, layer: int, heard: float, *, i: int, p: int, v: int) -> None:
    bias = network.circuits.at(layer)[1][i].item()
    if bias + heard > _tolerance(network):
        raise ValueError(
            f"b[{i}]={bias:.9g} in layer {layer} lets circuit {v}, alone, switch on neuron {i} of "
            f"position {p}, which is not its own; b[{i}] must be at most {_below(-heard)}"
        )


def _suspects(
    table: Int[np.ndarray, "T S"], push: Float[np.ndarray, " T"], n: int
) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Int[np.ndarray, "k S"]]]:
    """Positions p, circuits v without p, and the circuits (k, S) that join p to v's positions,
    wherever the pushes of these may add up to more than 1. -1: no circuit joins them.
    """
    T, S = table.shape
    to, read = (table[:, k].ravel() for k in np.nonzero(~np.eye(S, dtype=bool)))
    order = np.argsort(to * n + read)
    keys, joiner = (to * n + read)[order], np.repeat(np.arange(T), S * (S - 1))[order]
    joined = sparse.csr_array((push[joiner], (to[order], read[order])), shape=(n, n))
    on = sparse.csr_array(
        (np.ones(T * S, push.dtype), (table.ravel(), np.repeat(np.arange(T), S))), shape=(n, T)
    )
    for some in np.array_split(np.arange(n), -(-n * T // ENTRIES)):
        found = (joined[some] @ on).tocoo()
        p, v = (index[found.data > 1] for index in found.coords)
        p = some[p]
        outside = (table[v] != p[:, None]).all(1)
        p, v = p[outside], v[outside]
        if len(p):
            wanted = p[:, None] * n + table[v]
            at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            yield p, v, np.where(keys[at] == wanted, joiner[at], -1)


def _tolerance(network: Network) -> float:
    return float(torch.finfo(network.w.dtype).eps ** 0.5)


def _below(value: float) -> str:
    """The value rounded down to six digits, so that who obeys it is safe."""
    unit = 10.0 ** (floor(log10(abs(value))) - 5) if value else 1.0
    return f"{floor(value / unit) * unit:.6g}"
