"""Whether a circuit that runs alone wakes a neuron that is not its own: C14.2 for every pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import floor, log10

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from cisp.arguments import generator
from cisp.inputs import Seed
from cisp.network import Network
from cisp.reach import affine_states, bound, drawn_states, worst

ENTRIES, FIRST = 2**22, 2**16  # pairs of a position and a circuit looked at together
PAIRS = 2**16  # of them, those whose sums are made together
SPARE = 0.05  # of a bias, for states that were not drawn
LONGEST = 300  # characters of a refusal
MORE, ADVICE = "; and {} more", '. Build with a larger bias, or with silence="auto"'


@dataclass(frozen=True, eq=False)
class Loudest:
    """The most that each neuron of a foreign position hears (L, d), and from whom, where."""

    heard: Float[Tensor, "L d"]
    circuit: Int[Tensor, "L d"]
    position: Int[Tensor, "L d"]


def check_silence(network: Network, rng: Seed) -> None:
    """Raise ValueError if a neuron outside circuit v wakes while v runs alone (C14.2).

    In the extrinsic wiring position p outside v receives, from the circuits t that join it to a
    position q of v, the sum of Delta w_t a_v / (S-1). It stays silent if the bias outweighs that.
    Here that is found for every v, p and layer: for the worst input v can have, where within the
    law of its inputs no ReLU cuts a neuron of a circuit, or for all of its samples; else for the
    worst of inputs drawn from it. To be quick, only those pairs are looked at whose largest
    conceivable sum is too large.
    """
    bias, tiny = _biases(network), _tolerance(network)
    outside = [p for p in range(network.n) if p not in network.tables[0, 0]]
    if not outside:
        return
    for row, i in (bias > tiny).nonzero().tolist():
        raise ValueError(
            f"b[{i}]={float(bias[row, i]):.9g} in layer {row + 1} lets circuit 0, alone, switch on "
            f"neuron {i} of position {outside[0]}, which is not its own; b[{i}] must be at most 0"
        )
    loudest = loudest_outside(network, tiny - bias, rng)
    over = bias + loudest.heard > tiny
    if network.b.ndim == 1:  # one bias for all layers, named where it is heard most
        over &= torch.arange(len(bias), device="cpu").unsqueeze(1) == loudest.heard.round(
            decimals=6
        ).argmax(0)
    if bool(over.any()):
        _refuse(loudest, bias, over)


def least_silence(network: Network, rng: Seed) -> Float[Tensor, "L d"]:
    """The least biases, as positive numbers, that outweigh what leaks from any circuit alone.

    Found for every pair of a circuit and a position in one go. Where a circuit's states are not
    known (see `check_silence`) they are drawn, and the biases 5 % larger than what these need.
    """
    tiny, circuits = _tolerance(network), network.circuits
    known = isinstance(circuits.inputs, Tensor) or affine_states(circuits) is not None
    room = torch.full_like(_biases(network), tiny)
    heard = loudest_outside(network, room, rng, rising=True).heard
    return heard * (1 + (tiny if known else SPARE)) + tiny


def loudest_outside(
    network: Network,
    room: Float[Tensor, "L d"],
    rng: Seed,
    *,
    rising: bool = False,
) -> Loudest:
    """The most that neurons outside a circuit hear while it runs alone, where it is above `room`.

    What is below is not looked for, and may be given as less than it is. rising: only the loudest
    of each neuron matters, so what was found is no longer looked for.
    """
    circuits, share = network.circuits, network.S - 1
    exact = affine_states(circuits)
    affine = exact is not None
    states = drawn_states(circuits, generator(rng)) if exact is None else exact
    layers = range(2, network.L + 1)
    parts = [(circuits.at(k)[0] - network.mean(k)).cpu().double() for k in layers]
    most = [bound(w, X, affine).clamp(min=0) for w, X in zip(parts, states, strict=True)]
    most = [each / share for each in most]
    found = Loudest(
        torch.zeros_like(room), *torch.zeros(2, *room.shape, dtype=torch.int32, device="cpu")
    )
    if not states:
        return found
    joinings = _Joinings.of(network.tables[0].cpu().numpy(), network.n)
    joined = joinings.weighed(_push(most, room))
    for some in _lots(network, rising):
        for p, v, joining in joinings.suspects(joined, some):
            for row, (delta, X) in enumerate(zip(parts, states, strict=True), 1):
                own = torch.cat([delta, torch.zeros_like(delta[:1])])  # -1: nobody joins them
                heard = own[torch.from_numpy(joining)].sum(1) / share @ X[torch.from_numpy(v)]
                top, at = worst(heard, affine).max(0)
                louder = top > found.heard[row]
                found.circuit[row, louder] = torch.from_numpy(v)[at][louder].int()
                found.position[row, louder] = torch.from_numpy(p)[at][louder].int()
                found.heard[row] = torch.maximum(found.heard[row], top)
        if rising:
            room = torch.maximum(room, found.heard)
            joined = joinings.weighed(_push(most, room))
    return found


def _push(most: list[Float[Tensor, "T d"]], room: Float[Tensor, "L d"]) -> Float[Tensor, " T"]:
    """The most that each circuit sends a stranger, as a share of the room that is left there."""
    shares = [(each / r).amax(-1) for each, r in zip(most, room[1:], strict=True)]
    return torch.stack(shares).amax(0)


def _refuse(loudest: Loudest, bias: Float[Tensor, "L d"], over: Bool[Tensor, "L d"]) -> None:
    """Raise ValueError that names the neurons that wake, as many as LONGEST leaves room for."""
    told: list[str] = []
    for row, i in over.nonzero().tolist():
        most = f"b[{i}] must be at most {_below(-float(loudest.heard[row, i]))}"
        full = (
            f"b[{i}]={float(bias[row, i]):.9g} in layer {row + 1} lets circuit "
            f"{int(loudest.circuit[row, i])}, alone, switch on neuron {i} of position "
            f"{int(loudest.position[row, i])}, not its own; {most}"
        )
        told.append(f"; in layer {row + 1} {most}" if told else full)
    space = LONGEST - len(MORE + ADVICE)
    named = max(sum(length <= space for length in accumulate(map(len, told))), 1)
    more = MORE.format(len(told) - named) if named < len(told) else ""
    raise ValueError("".join(told[:named]) + more + ADVICE)


def _lots(network: Network, rising: bool) -> Iterator[Int[np.ndarray, " k"]]:
    """Positions to be looked at together: a few at first, if the first are to spare later ones."""
    done, size = 0, FIRST if rising else ENTRIES
    while done < network.n:
        positions = max(size // network.T, 1)
        yield np.arange(done, min(done + positions, network.n))
        done, size = done + positions, min(2 * size, ENTRIES)


@dataclass(frozen=True, eq=False)
class _Joinings:
    """Which circuit joins two positions (at most one does), sorted by the two, and who is where."""

    table: Int[np.ndarray, "T S"]
    pairs: Int[np.ndarray, " joinings"]  # to * n + read
    joiner: Int[np.ndarray, " joinings"]
    on: sparse.csr_array

    @classmethod
    def of(cls, table: Int[np.ndarray, "T S"], n: int) -> "_Joinings":
        T, S = table.shape
        to, read = (table[:, k].ravel() for k in np.nonzero(~np.eye(S, dtype=bool)))
        order = np.argsort(to * n + read)
        places = table.ravel(), np.repeat(np.arange(T), S)
        on = sparse.csr_array((np.ones(T * S), places), shape=(n, T))
        joiner = np.repeat(np.arange(T), S * (S - 1))[order]
        return cls(table, (to * n + read)[order], joiner, on)

    def weighed(self, push: Float[Tensor, " T"]) -> sparse.csr_array:
        """The push of the circuit that joins two positions, (n, n)."""
        n = self.on.shape[0]
        places = np.divmod(self.pairs, n)
        return sparse.csr_array((push.numpy()[self.joiner], places), shape=(n, n))

    def suspects(
        self, joined: sparse.csr_array, some: Int[np.ndarray, " lot"]
    ) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Int[np.ndarray, "k S"]]]:
        """Positions p of some, circuits v without p, and the circuits (k, S) that join p to v's
        positions, wherever the pushes of these may add up to more than 1. -1: no circuit joins.
        """
        found = (joined[some] @ self.on).tocoo()
        p, v = (index[found.data > 1] for index in found.coords)
        p, n = some[p], self.on.shape[0]
        outside = (self.table[v] != p[:, None]).all(1)
        p, v = p[outside], v[outside]
        for start in range(0, len(p), PAIRS):
            p_, v_ = p[start : start + PAIRS], v[start : start + PAIRS]
            wanted = p_[:, None] * n + self.table[v_]
            at = np.searchsorted(self.pairs, wanted).clip(max=len(self.pairs) - 1)
            yield p_, v_, np.where(self.pairs[at] == wanted, self.joiner[at], -1)


def _biases(network: Network) -> Float[Tensor, "L d"]:
    return torch.stack([network.circuits.at(k)[1].cpu().double() for k in range(1, network.L + 1)])


def _tolerance(network: Network) -> float:
    return float(torch.finfo(network.w.dtype).eps ** 0.5)


def _below(value: float) -> str:
    """The value rounded down to six digits, so that who obeys it is safe."""
    unit = 10.0 ** (floor(log10(abs(value))) - 5) if value else 1.0
    return f"{floor(value / unit) * unit:.6g}"
