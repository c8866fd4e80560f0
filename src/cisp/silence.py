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
from cisp.reach import affine_states, ball, drawn_states, worst

ENTRIES, FIRST = 2**22, 2**16  # pairs of a position and a circuit looked at together
TOGETHER, MANY = 32, 2**24  # at least so many positions; pairs, from which on compiled loops pay
DENSE = 0.05  # the share of pairs of positions that are joined, from which on all are added up
PAIRS = 2**16  # of them, those whose sums are made together
SPARE = 0.05  # of a bias, for states that were not drawn
LONGEST = 300  # characters of a refusal
MORE, ADVICE = "; and {} more", '. Build with a larger bias, or with silence="auto"'

Joined = tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]  # from, to, by


@dataclass(frozen=True, eq=False)
class Loudest:
    """The most that each neuron of a foreign position hears (L, d), and from whom, where."""

    heard: Float[Tensor, "L d"]
    circuit: Int[Tensor, "L d"]
    position: Int[Tensor, "L d"]


def check_silence(network: Network, rng: Seed, loudest: Loudest | None = None) -> None:
    """Raise ValueError if a neuron outside circuit v wakes while v runs alone (C14.2).

    In the extrinsic wiring position p outside v receives, from the circuits t that join it to a
    position q of v, the sum of Delta w_t a_v / (S-1). It stays silent if the bias outweighs that.
    Here that is found for every v, p and layer: for the worst input v can have, where within the
    law of its inputs no ReLU cuts a neuron of a circuit, or for all of its samples; else for the
    worst of inputs drawn from it. To be quick, only those pairs are looked at whose largest
    conceivable sum is too large. loudest: what was found before, with other biases.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=6, bias=2)
    >>> network = cisp.superpose_extrinsic(circuits, D=48, S=3, L=3)
    >>> check_silence(network, rng=0)  # nothing is raised: each circuit alone wakes no stranger
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
    loudest = loudest_outside(network, tiny - bias, rng) if loudest is None else loudest
    over = bias + loudest.heard > tiny
    if network.b.ndim == 1:  # one bias for all layers, named where it is heard most
        over &= torch.arange(len(bias), device="cpu").unsqueeze(1) == loudest.heard.round(
            decimals=6
        ).argmax(0)
    if bool(over.any()):
        _refuse(loudest, bias, over)


def least_silence(network: Network, rng: Seed) -> tuple[Float[Tensor, "L d"], Loudest]:
    """The least biases, as positive numbers, that outweigh what leaks from any circuit alone.

    Found for every pair of a circuit and a position in one go, and given beside. Where a circuit's
    states are not known (see `check_silence`) they are drawn, and the biases 5 % larger than what
    these need.
    """
    tiny, circuits = _tolerance(network), network.circuits
    known = isinstance(circuits.inputs, Tensor) or affine_states(circuits) is not None
    loudest = loudest_outside(network, tiny - _biases(network).clamp(min=0), rng)
    return loudest.heard * (1 + (tiny if known else SPARE)) + tiny, loudest


def loudest_outside(network: Network, room: Float[Tensor, "L d"], rng: Seed) -> Loudest:
    """The most that neurons outside a circuit hear while it runs alone, where it is above `room`.

    What is below is not looked for, and may be given as less than it is.
    """
    circuits, share = network.circuits, network.S - 1
    exact = affine_states(circuits)
    affine = exact is not None
    states = drawn_states(circuits, generator(rng)) if exact is None else exact
    found = Loudest(
        torch.zeros_like(room), *torch.zeros(2, *room.shape, dtype=torch.int32, device="cpu")
    )
    if not states:
        return found
    alike = network.w.ndim == 3 and network.w_mean.ndim == 2
    layers = range(2, 3 if alike else network.L + 1)
    parts = [(circuits.at(k)[0] - network.mean(k)).cpu().double() for k in layers]
    balls = [ball(X, affine) for X in ([torch.cat(states)] if alike else states)]
    ears = [ear for w, at in zip(parts, balls, strict=True) for ear in _ears(w / share, *at)]
    none = [torch.cat([w, torch.zeros_like(w[:1])]) for w in parts]  # -1: nobody joins them
    joinings = _Joinings.of(network.tables[0].cpu().numpy(), network.n)
    for some in _lots(network):
        left = torch.maximum(room, found.heard)[1:]
        left = left.amin(0, keepdim=True) if alike else left
        for p, v, joining in joinings.suspects(ears, left.flatten(), some):
            for row, X in enumerate(states):
                own = none[0 if alike else row]
                heard = own[torch.from_numpy(joining)].sum(1) / share @ X[torch.from_numpy(v)]
                top, at = worst(heard, affine).max(0)
                louder = top > found.heard[row + 1]
                found.circuit[row + 1, louder] = torch.from_numpy(v)[at][louder].int()
                found.position[row + 1, louder] = torch.from_numpy(p)[at][louder].int()
                found.heard[row + 1] = torch.maximum(found.heard[row + 1], top)
    return found


def _ears(
    w: Float[Tensor, "T d d"], centre: Float[Tensor, " d"], axes: Float[Tensor, "d d"]
) -> list[Float[Tensor, "T _"]]:
    """For each neuron, what bounds what it hears of some circuits: of the sum of their rows, the
    first term and the norm of the others.
    """
    first, others = w @ centre, w @ axes
    large = others.abs() > 1e-6 * others.abs().amax()
    kept = large.any(0)
    first = first + torch.where(kept, 0.0, others).norm(dim=-1)
    return [torch.cat([first[:, i : i + 1], others[:, i, kept[i]]], 1) for i in range(w.shape[1])]


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


def _lots(network: Network) -> Iterator[Int[np.ndarray, " k"]]:
    """Positions to be looked at together: a few at first, as the loudest of them spare others."""
    done, size = 0, FIRST
    while done < network.n:
        positions = max(size // network.T, 1)
        yield np.arange(done, min(done + positions, network.n))
        done, size = done + positions, min(2 * size, max(ENTRIES, TOGETHER * network.T))


@dataclass(frozen=True, eq=False)
class _Joinings:
    """Who is where, and so which circuit joins two positions: at most one does."""

    table: Int[np.ndarray, "T S"]
    on: sparse.csr_array

    @classmethod
    def of(cls, table: Int[np.ndarray, "T S"], n: int) -> "_Joinings":
        T, S = table.shape
        places = table.ravel(), np.repeat(np.arange(T, dtype=np.int32), S)
        return cls(table, sparse.csr_array((np.ones(T * S), places), shape=(n, T)))

    def suspects(
        self,
        ears: list[Float[Tensor, "T _"]],
        room: Float[Tensor, " ears"],
        some: Int[np.ndarray, " lot"],
    ) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Int[np.ndarray, "k S"]]]:
        """Positions p of some, circuits v without p, and the circuits (k, S) that join p to v's
        positions, wherever these may be heard above `room`. -1: no circuit joins.
        """
        (T, S), n = self.table.shape, self.on.shape[0]
        at, t = self.on[some].nonzero()
        other = self.table[t] != some[at, None]
        to, at, t = self.table[t][other], at.repeat(S - 1), t.repeat(S - 1)
        many = T * n > MANY and T * S**2 > DENSE * n**2
        lot, v = (self._of_many if many else self._of_few)(ears, room, (at, to, t), len(some))
        outside = (self.table[v] != some[lot, None]).all(1)
        lot, v = lot[outside], v[outside]
        order = np.argsort(at * n + to) if len(v) else at[:0]
        pairs, joiner = (at * n + to)[order], t[order]
        for start in range(0, len(v), PAIRS):
            here, v_ = lot[start : start + PAIRS], v[start : start + PAIRS]
            wanted = here[:, None] * n + self.table[v_]
            place = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
            yield some[here], v_, np.where(pairs[place] == wanted, joiner[place], -1)

    def _of_few(
        self, ears: list[Tensor], room: Tensor, joined: Joined, lot: int
    ) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """Where few positions are joined: by the sum of what each circuit is heard at most."""
        most = [(ear[:, 0] + ear[:, 1:].norm(dim=1)) / r for ear, r in zip(ears, room, strict=True)]
        push, (at, to, t) = torch.stack(most).amax(0).clamp(min=0).numpy(), joined
        found = sparse.csr_array((push[t], (at, to)), shape=(lot, self.on.shape[0])) @ self.on
        at, v = (index[found.tocoo().data > 1] for index in found.tocoo().coords)
        return at, v

    def _of_many(
        self, ears: list[Tensor], room: Tensor, joined: Joined, lot: int
    ) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """Where many are: by what all are heard at most, pair for pair."""
        from cisp import kernels  # compiled at the first call

        (at, to, t), (T, S) = joined, self.table.shape
        over = np.zeros((T, lot), bool)
        for ear, r in zip(ears, room.tolist(), strict=True):
            rounding = S**2 * torch.finfo(torch.float32).eps * float(ear.abs().max())
            if S * float((ear[:, 0] + ear[:, 1:].norm(dim=1)).max()) > r:
                heard = np.zeros((self.on.shape[0], ear.shape[1], lot), np.float32)
                heard[to, :, at] = ear.numpy()[t]
                kernels.loud(self.table, heard, np.float32(r - rounding), over)
        v, at = over.nonzero()
        return at, v


def _biases(network: Network) -> Float[Tensor, "L d"]:
    return torch.stack([network.circuits.at(k)[1].cpu().double() for k in range(1, network.L + 1)])


def _tolerance(network: Network) -> float:
    return float(torch.finfo(network.w.dtype).eps ** 0.5)


def _below(value: float) -> str:
    """The value rounded down to six digits, so that who obeys it is safe."""
    unit = 10.0 ** (floor(log10(abs(value))) - 5) if value else 1.0
    return f"{floor(value / unit) * unit:.6g}"
