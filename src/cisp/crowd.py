"""How a circuit meets all others, drawn by the law of a table and not built."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from cisp.allocation import Table, load, mean_squared_overlap

KINDS = 4  # kinds of rows, by how many others they meet


@dataclass(frozen=True, eq=False)
class Crowd:
    """How the circuits of a table meet: the others on each position of each row, and q."""

    n: int
    others: Int[Tensor, "T S"]
    q: float

    @classmethod
    def of(cls, table: Table, *, n: int) -> "Crowd":
        """The crowd of a table in which two rows share at most one position."""
        q = mean_squared_overlap(table, n=n) if len(table) > 1 else 0.0
        return cls(n, torch.from_numpy(load(table, n=n)[table] - 1), q)

    @property
    def S(self) -> int:
        """The positions of a circuit."""
        return self.others.shape[1]

    @property
    def meets(self) -> float:
        """The probability S^2 q that two circuits share a position."""
        return self.S**2 * self.q

    @property
    def joinings(self) -> float:
        """N of C14.4: how many third circuits join a position of one circuit to one of another."""
        T, own = len(self.others), self.others.double()
        return float((own.sum(1) ** 2 - (own**2).sum(1)).sum() / max(T * (T - 1), 1))


@dataclass(frozen=True, eq=False)
class Dealing:
    """Rows of the table drawn for the circuits of each group in one layer, and where they meet."""

    others: Int[Tensor, "b k S"]
    kind: Int[Tensor, "b k"]
    met: Bool[Tensor, "b k k S"]


@dataclass(frozen=True, eq=False)
class Links:
    """The law of how many positions of an active circuit are linked to a position (5.23)."""

    crowd: Crowd
    kinds: Int[Tensor, " T"]
    cdf: Float[Tensor, "c kinds two S1"]
    chi_S: float
    gen: Generator

    @classmethod
    def of(cls, crowd: Crowd, gen: Generator) -> "Links":
        """The law: each of c others on p meets v with a probability, at a random position of v.

        Axes: c, the kind of v's row, whether v meets the circuit itself, positions linked.
        """
        T, met = len(crowd.others), crowd.others.sum(1)
        kinds = torch.empty(T, dtype=torch.int64)
        kinds[met.argsort()] = torch.arange(T) * KINDS // T
        each = [met[kinds == k] if bool((kinds == k).any()) else met for k in range(KINDS)]
        meets = np.array([float(m.double().mean()) for m in each]) / max(T - 1, 1)
        new = meets[:, None, None] * (1 - np.arange(crowd.S + 1) / crowd.S)
        law = np.zeros((int(crowd.others.max()) + 1, KINDS, 2, crowd.S + 1))
        law[0, :, 0, 0] = law[0, :, 1, 1] = 1  # where v meets the circuit, one is linked already
        for c in range(1, len(law)):
            law[c] = law[c - 1] * (1 - new)
            law[c, ..., 1:] += (law[c - 1] * new)[..., :-1]
        cdf = torch.from_numpy(law.cumsum(-1)).float()
        return cls(crowd, kinds, cdf, _balanced(crowd, law.mean(1)), gen)

    def draw(self, size: int, k: int) -> Dealing:
        """Groups of k circuits, dealt to rows of the table."""
        others = self.crowd.others
        rows = torch.randint(len(others), (size, k), generator=self.gen)
        many = others.sum(1) / others.sum(1).double().mean().clamp(min=1e-9)
        chance = self.crowd.meets * many[rows].unsqueeze(2) * many[rows].unsqueeze(1)
        met = meetings(chance, self.crowd.S, self.gen)
        return Dealing(others[rows], self.kinds[rows], met)

    def weights(self, here: Dealing, before: Dealing, z: int) -> Float[Tensor, "b k z S"]:
        """What a position takes of w_mean a_v beyond meetings and own links, for active v.

        (1 + chi S) times the share of v's positions that are linked, less chi S.
        """
        b, k, S = here.others.shape
        shape, own = (b, k, z, S), before.met.any(3)[:, :, :z, None]
        law = self.cdf[
            here.others.unsqueeze(2).expand(shape),
            before.kind[:, None, :z, None].expand(shape),
            own.long().expand(shape),
        ]
        linked = (torch.rand(*shape, 1, generator=self.gen) > law).sum(-1) / S
        C = (1 + self.chi_S) * linked - self.chi_S - own / S
        foreign = torch.arange(k).unsqueeze(1) != torch.arange(z)
        return C * ~here.met[:, :, :z] * foreign.unsqueeze(2)


def meetings(chance: Float[Tensor, "b k k"], S: int, gen: Generator) -> Bool[Tensor, "b k k S"]:
    """Whether i and j meet, and at which position of i; evenly, as often as the chance says."""
    size, k, _ = chance.shape
    rank = torch.rand(chance.shape, generator=gen).argsort(0).argsort(0)
    even = (rank + torch.rand(1, k, k, generator=gen)) / size
    hit = torch.triu((even < chance).float(), 1).bool()
    place = torch.randint(S, (size, k, k, 1), generator=gen) == torch.arange(S)
    return (hit | hit.transpose(1, 2)).unsqueeze(3) & place


def _balanced(crowd: Crowd, law: Float[np.ndarray, "c two S1"]) -> float:
    """chi S: meetings (all S entries used), own links and others add up to 0 on average (5.24)."""
    loads = np.bincount(crowd.others.flatten().numpy(), minlength=len(law)) / crowd.others.numel()
    start = np.array([1 - crowd.meets, crowd.meets])
    used = np.einsum("cbj,c,b,j->", law, loads, start, np.arange(crowd.S + 1)) / crowd.S
    o = crowd.S * crowd.q
    return float((used + o / (1 - o)) / (1 - used)) if max(used, o) < 1 else 0.0
