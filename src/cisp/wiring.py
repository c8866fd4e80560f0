"""How the layers of a network are wired: which positions they read, by what weights (section 5.4).

A layer's facts are stated once, in `Layer`; its product and its dense weights follow from them.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from cisp.allocation import Table
from cisp.arguments import count

COLUMNS = 256  # of a dense matrix, made at a time
NOTHING = torch.zeros(2, 0, dtype=torch.int64)


class Bags(nn.Module):
    """Sums of rows: sum k adds up the rows rows[starts[k]:starts[k+1]]."""

    rows: Tensor
    starts: Tensor

    def __init__(self, bags: Int[Tensor, " m"], rows: Int[Tensor, " m"], sums: int) -> None:
        """Row rows[k] goes into sum bags[k], in order, of so many sums."""
        super().__init__()
        starts = torch.searchsorted(bags, torch.arange(sums))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, A: Float[Tensor, "rows d batch"]) -> Float[Tensor, "sums d batch"]:
        """The sums of rows of A."""
        summed = embedding_bag(self.rows, A.flatten(1), self.starts, mode="sum")
        return summed.view(-1, *A.shape[1:])

    def of(self, k: int) -> Int[Tensor, " m"]:
        """The rows that sum k adds up."""
        first, last = [*self.starts[k : k + 2].tolist(), len(self.rows)][:2]
        return self.rows[first:last]

    def holding(self, row: int) -> Int[Tensor, " m"]:
        """The sums that the row goes into."""
        places = torch.nonzero(self.rows == row).flatten()
        return torch.searchsorted(self.starts, places, right=True) - 1


class Layer(nn.Module):
    """The facts of one layer, W = sum_k |to_k> M_k <from_k| with a d x d matrix M_k for each sum k.

    `gather` adds up the positions from_k of the layer before, the positions to_k receive what
    `scatter` hands on. The first T sums are the circuits'; the others may take circuits back:

        M_t = Delta w_t / share + mean_t w_mean,
        M_k = - sum_{t taken back by k} Delta w_t / share + mean_k w_mean    for k >= T.

    share: how many positions a circuit's own part comes from. mean: (sums,), or (sums, d) where it
    differs by block. taken_back: circuits, and the sums that take them back.
    """

    mean: Tensor
    rest: Tensor
    circuits: Tensor
    sums: Tensor

    def __init__(
        self,
        gather: Bags,
        scatter: Bags,
        *,
        T: int,
        share: int,
        mean: Float[Tensor, "sums *d"],
        taken_back: Int[Tensor, "2 m"] = NOTHING,
    ) -> None:
        super().__init__()
        self.gather, self.scatter, self.T, self.share = gather, scatter, T, share
        mean = mean.reshape(len(mean), -1, 1)
        net = torch.zeros_like(mean[:, :1])  # the circuits in each sum, those taken back as -1
        net[:T] = 1
        net = net.index_add(0, taken_back[1], torch.ones_like(net[taken_back[1]]), alpha=-1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("rest", mean - net / share, persistent=False)
        self.register_buffer("circuits", taken_back[0], persistent=False)
        self.register_buffer("sums", taken_back[1], persistent=False)

    def forward(
        self,
        gathered: Float[Tensor, "sums d batch"],
        w: Float[Tensor, "T d d"],
        w_mean: Float[Tensor, "d d"],
    ) -> Float[Tensor, "n d batch"]:
        """W A, from what `gather` makes of A."""
        own = w / self.share
        others = own.new_zeros(len(self.rest) - self.T, *own.shape[1:])
        others = others.index_add(0, self.sums - self.T, own[self.circuits], alpha=-1)
        matrices = torch.cat([own, others]) + self.rest.to(w) * w_mean
        return self.scatter(matrices @ gathered)

    def W(self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"]) -> Float[Tensor, "D D"]:
        """The dense weights, blocks stacked as in 5.14: the product, of unit vectors."""
        d, n = len(w_mean), len(self.scatter.starts)
        units = torch.eye(d * n).to(w).view(d, n, -1).transpose(0, 1)
        columns = [self(self.gather(A), w, w_mean) for A in units.split(COLUMNS, 2)]
        return torch.cat(columns, 2).transpose(0, 1).reshape(d * n, d * n)

    def W_emb(self) -> Float[Tensor, "blocks n n"]:
        """What each entry takes of w_mean: one for all blocks, or one for each."""
        units = torch.eye(len(self.scatter.starts)).to(self.mean).unsqueeze(1)
        columns = [self.scatter(self.mean * self.gather(A)) for A in units.split(COLUMNS, 2)]
        return torch.cat(columns, 2).transpose(0, 1)

    def own(self, t: int, delta_w: Float[Tensor, "d d"]) -> Float[Tensor, "D D"]:
        """Circuit t's own part of W, with its Delta w."""
        d, n = len(delta_w), len(self.scatter.starts)
        part = torch.zeros(d, n, d, n).to(delta_w)
        back = self.sums[self.circuits == t].tolist()
        for k, sign in ((t, 1), *((k, -1) for k in back)):
            to, read = self.scatter.holding(k).unsqueeze(1), self.gather.of(k)
            part[:, to, :, read] += sign * delta_w / self.share
        return part.reshape(d * n, d * n)


class Dealt(nn.Module):
    """The post's wiring: each layer deals the circuits over positions of its own (5.23).

    W_emb is 1/S where any circuit uses an entry, else -chi. P = sum_t |e_t^l><e_t^{l-1}| - X marks
    the used entries, where X counts how often one is used beyond once, so that

        W_emb = (1/S + chi) P - chi 11^T.

    A layer's sums are the T circuits', the n rows of X, and that of all positions.

    tables: (L, T, S) ints, row l-1 for layer l. chi: (L,), or (L, d) where it differs by block;
    chi[0] is unused. It balances each layer (5.24) unless given.
    """

    FORMAT = "cisp network 1"

    n: int
    tables: Tensor
    chi: Tensor
    layers: nn.ModuleList
    last: Bags

    def __init__(self, tables: Tensor, chi: Tensor | None = None, *, n: int) -> None:
        super().__init__()
        _prepare(self, tables, n)
        chi = _balanced(tables, n) if chi is None else chi
        self.register_buffer("chi", chi.to(tables.device))
        _derive(self)

    def _apply(self, *how: Any) -> nn.Module:  # another device or dtype
        super()._apply(*how)
        _derive(self)
        return self

    def made(self) -> list[Layer]:
        """Layers 2..L."""
        pairs, chi = pairwise(self.tables.cpu()), self.chi.cpu()[1:]
        return [_dealt(*pair, one, self.n) for pair, one in zip(pairs, chi, strict=True)]


class Extrinsic(nn.Module):
    """The wiring in which a circuit reaches a position from its other positions only.

    Beyond the post, see `superpose_extrinsic`. All layers have the same table, and W_emb = 1:

        W = w_mean (x) 1 + 1/(S-1) sum_t Delta w_t (x) (|e_t><e_t| - diag e_t).

    A layer's sums are the T circuits', which send to all S positions what comes from all, and those
    of the n positions, which take back what a position sent to itself.

    Raises ValueError if S = 1 or if the tables differ by layer.
    """

    FORMAT = "cisp extrinsic network 1"

    n: int
    tables: Tensor
    chi: Tensor
    layers: nn.ModuleList
    last: Bags

    def __init__(self, tables: Tensor, chi: Tensor | None = None, *, n: int) -> None:
        super().__init__()
        _prepare(self, tables, n)
        count("S", tables.shape[2], low=2)
        if bool((tables != tables[0]).any()):
            layer = int((tables != tables[0]).flatten(1).any(1).nonzero()[0]) + 1
            raise ValueError(
                f"tables differ in layers 1 and {layer}; this wiring has one table for all layers"
            )
        self.register_buffer("chi", torch.zeros(len(tables), dtype=torch.float64).to(tables.device))
        _derive(self)

    def _apply(self, *how: Any) -> nn.Module:  # another device or dtype
        super()._apply(*how)
        _derive(self)
        return self

    def made(self) -> list[Layer]:
        """Layers 2..L, all alike."""
        L, T, S = self.tables.shape
        table, every = self.tables[0].cpu().flatten(), torch.arange(self.n)
        sums, positions = torch.cat([_circuits(T, S), T + every]), torch.cat([table, every])
        layer = Layer(
            Bags(sums, positions, T + self.n),
            _received(positions, sums, self.n),
            T=T,
            share=S - 1,
            mean=torch.cat([torch.zeros(T), torch.ones(self.n)]).to(self.chi.dtype),
            taken_back=torch.stack([_circuits(T, S), T + table]),
        )
        return [layer] * (L - 1)


Wiring = Dealt | Extrinsic


def balanced_chi(table: Table, before: Table, n: int) -> float:
    """The chi with E_{t != u} <e_t^l|W_emb|e_u^{l-1}> = 0 over all ordered pairs (5.24).

    Of the T (T-1) S^2 entries that these brackets add up, M are 1/S and the others -chi, so
    chi = M / (S (T (T-1) S^2 - M)). With c the load, M = c^l . P c^{l-1} less the T S^2 entries of
    the pairs t = u. A single circuit has no pairs; its chi is 0.

    Raises ValueError if no entry is left over for -chi.
    """
    T, S = table.shape
    entries = np.sort(table[:, :, None] * n + before[:, None, :], axis=None)
    entries = entries[np.diff(entries, prepend=-1) > 0]  # each used entry once
    c, c_before = np.bincount(table.ravel(), minlength=n), np.bincount(before.ravel(), minlength=n)
    M = int(c[entries // n] @ c_before[entries % n]) - T * S**2
    rest = T * (T - 1) * S**2 - M
    if T > 1 and rest == 0:
        raise ValueError(
            f"T={T} circuits use every entry of the {n} x {n} embedding matrix at S={S}, so no chi "
            "solves 5.24; take fewer circuits or a larger D"
        )
    return M / (S * rest) if T > 1 else 0.0


def _balanced(tables: Tensor, n: int) -> Float[Tensor, " L"]:
    pairs = pairwise(tables.cpu().numpy())
    balances = [0.0, *(balanced_chi(after, table, n) for table, after in pairs)]
    return torch.tensor(balances, dtype=torch.float64)


def _dealt(table: Tensor, after: Tensor, chi: Tensor, n: int) -> Layer:
    """One dealt layer: from the positions of `table` to those of `after`."""
    T, S = table.shape
    every = torch.arange(n)
    last = torch.full_like(every, T + n)
    entries = (after.unsqueeze(-1) * n + table.unsqueeze(-2)).flatten().sort().values
    X = entries[1:][entries[1:] == entries[:-1]]
    read = torch.cat([_circuits(T, S), T + X // n, last])
    sent = torch.cat([_circuits(T, S), T + every, last])
    used = (1 / S + chi).expand(T + n, *chi.shape)
    return Layer(
        Bags(read, torch.cat([table.flatten(), X % n, every]), T + n + 1),
        _received(torch.cat([after.flatten(), every, every]), sent, n),
        T=T,
        share=S,
        mean=torch.cat([used[:T], -used[T:], -chi.unsqueeze(0)]),
    )


def _prepare(wiring: Wiring, tables: Tensor, n: int) -> None:
    """Check and keep the tables."""
    if tables.ndim != 3 or 0 in tables.shape or tables.is_floating_point():
        raise ValueError(
            f"tables has shape {tuple(tables.shape)} and dtype {tables.dtype}; "
            "it must be (L, T, S) integers"
        )
    low, high = int(tables.min()), int(tables.max())
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise ValueError(f"tables holds position {wrong}; positions are 0..{n - 1}")
    wiring.n = n
    wiring.register_buffer("tables", tables)
    wiring.register_load_state_dict_post_hook(_derive)


def _derive(wiring: Wiring, _: object = None) -> None:
    """The layers and what reads the last, from tables and chi: at first and when these change."""
    L, T, S = wiring.tables.shape
    last = Bags(_circuits(T, S), wiring.tables[-1].cpu().flatten(), T)
    wiring.layers = nn.ModuleList(wiring.made()).to(wiring.tables.device)
    wiring.last = last.to(wiring.tables.device)


def _circuits(T: int, S: int) -> Tensor:
    """Each circuit S times, in order."""
    return torch.arange(T).repeat_interleave(S)


def _received(positions: Tensor, sums: Tensor, n: int) -> Bags:
    """What each position receives: sum sums[k] goes to position positions[k]."""
    order = positions.argsort(stable=True)
    return Bags(positions[order], sums[order], n)
