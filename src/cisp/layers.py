"""One layer of a network as a product that never builds its weights (5.20, 5.23).

The facts of a layer are stated once, in `Layer`; product and dense weights follow from them.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from cisp.arguments import a, places
from cisp.inputs import unit

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
COLUMNS = 256  # of a dense matrix, made at a time
Own = tuple[Int[Tensor, " r"], Int[Tensor, " c"], Float[Tensor, "r c d d"]]  # rows, columns

NOTHING = torch.zeros(2, 0, dtype=torch.int64, device="cpu")


class _Sums(torch.autograd.Function):
    """Sums of rows as a linear map, whose gradient is the map that takes it back.

    torch's own embedding_bag has no forward derivatives, and adds up its gradients in the dtype
    of the weights; here half precision is summed in float32, both ways.
    """

    @staticmethod
    def forward(A: Tensor, rows: Tensor, starts: Tensor, bags: Tensor, ends: Tensor) -> Tensor:
        """Sum k of the rows of A that `rows` lists from starts[k] on; `bags`, `ends` go back."""
        wide = A.flatten(1).to(torch.promote_types(A.dtype, torch.float32))
        summed = embedding_bag(rows, wide, starts, mode="sum")
        return summed.to(A).view(-1, *A.shape[1:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.places = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, starts, bags, ends = ctx.places
        return _Sums.apply(grad[0], bags, ends, rows, starts), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _Sums.apply(tangents[0], *ctx.places)

    @staticmethod
    def vmap(_: Any, dims: tuple[int | None, ...], A: Tensor, *places: Tensor) -> Any:
        return _Sums.apply(A.movedim(dims[0] or 0, -1), *places), -1


class Bags(nn.Module):
    """Sums of rows: sum k adds up the rows rows[starts[k]:starts[k+1]].

    Row rows[k] goes into sum bags[k], in order; `sums` and `of_rows` are their numbers.
    """

    rows: Tensor
    starts: Tensor
    bags: Tensor
    ends: Tensor

    def __init__(
        self, bags: Int[Tensor, " m"], rows: Int[Tensor, " m"], sums: int, of_rows: int
    ) -> None:
        super().__init__()
        order = rows.argsort(stable=True)
        facts = {
            "rows": rows,
            "starts": torch.searchsorted(bags, torch.arange(sums, device=bags.device)),
            "bags": bags[order],
            "ends": torch.searchsorted(rows[order], torch.arange(of_rows, device=bags.device)),
        }
        for name, value in facts.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, A: Float[Tensor, "rows d batch"]) -> Float[Tensor, "sums d batch"]:
        """The sums of rows of A."""
        return _Sums.apply(A, self.rows, self.starts, self.bags, self.ends)

    def of(self, k: int) -> Int[Tensor, " m"]:
        """The rows that sum k adds up."""
        first, last = [*self.starts[k : k + 2].tolist(), len(self.rows)][:2]
        return self.rows[first:last]

    def holding(self, row: int) -> Int[Tensor, " m"]:
        """The sums that the row goes into."""
        first, last = [*self.ends[row : row + 2].tolist(), len(self.bags)][:2]
        return self.bags[first:last]


class Layer(nn.Module):
    """The facts of one layer, W = sum_k |to_k> M_k <from_k| with a d x d matrix M_k for each sum k.

    `gather` adds up the positions from_k of the layer before, the positions to_k receive what
    `scatter` hands on. The first T sums are the circuits'; the others may take circuits back:

        M_t = Delta w_t / share + m_t w_mean,
        M_k = - sum_{t taken back by k} Delta w_t / share + m_k w_mean    for k >= T,

    with m = whole + used / share + slope chi. share: how many positions a circuit's own part comes
    from. whole, used, slope: (sums,) ints, the rows of `mean`. taken_back: circuits, and the sums
    that take them back. chi: one number, or (d,) where it differs by block, on the CPU.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> layer, chi = network.wiring.layers[0], network.wiring.facts(2)
    >>> w, w_mean = network.w, network.w_mean
    >>> torch.equal(layer.W(w, w_mean, chi), network.W(2))
    True
    >>> tuple(layer.matrices(w, w_mean, chi).shape), tuple(layer.W_emb(chi).shape)
    ((19, 4, 4), (1, 12, 12))
    >>> tuple(layer.own(3, w[3] - w_mean, chi)[2].shape)
    (2, 2, 4, 4)
    """

    mean: Tensor
    beside: Tensor

    def __init__(
        self,
        gather: Bags,
        scatter: Bags,
        *,
        T: int,
        share: int,
        mean: Int[Tensor, "3 sums"],
        taken_back: Int[Tensor, "2 m"] = NOTHING,
    ) -> None:
        super().__init__()
        self.gather, self.scatter, self.T, self.share = gather, scatter, T, share
        beside = mean.index_add(1, taken_back[1], mean[:, taken_back[0]])
        beside[1, :T] -= 1
        self.mean, self.beside = mean, beside  # on the CPU, as is chi
        circuits, sums = taken_back[:, taken_back[1].argsort(stable=True)]
        self.back = Bags(sums - T, circuits, mean.shape[1] - T, T)

    def forward(
        self,
        gathered: Float[Tensor, "sums d batch"],
        w: Float[Tensor, "T d d"],
        w_mean: Float[Tensor, "d d"],
        chi: Float[Tensor, "*d"],
    ) -> Float[Tensor, "n d batch"]:
        """W A, from what `gather` makes of A."""
        return self.scatter(self.matrices(w, w_mean, chi) @ gathered)

    def matrices(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], chi: Float[Tensor, "*d"]
    ) -> Float[Tensor, "sums d d"]:
        """The M_k.

        M_t is w_t / share and the rest of w_mean; the M_t themselves, rounded as they are, are what
        other sums take back.
        """
        beside = self._number(self.beside, chi).to(w) * w_mean
        own = w / self.share + beside[: self.T]
        return torch.cat([own, beside[self.T :] - self.back(own)])

    def W(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], chi: Float[Tensor, "*d"]
    ) -> Float[Tensor, "D D"]:
        """The dense weights, blocks stacked as in 5.14: the product, of unit vectors."""
        return dense(self, w, w_mean, chi, n=len(self.scatter.starts))

    def W_emb(self, chi: Float[Tensor, "*d"]) -> Float[Tensor, "blocks n n"]:
        """What each entry takes of w_mean: one for all blocks, or one for each. On the CPU."""
        gather, scatter = (deepcopy(x).cpu() for x in (self.gather, self.scatter))
        units = unit(len(scatter.starts), chi).unsqueeze(1)
        mean = self._number(self.mean, chi)
        columns = [scatter(mean * gather(A)) for A in units.split(COLUMNS, 2)]
        return torch.cat(columns, 2).transpose(0, 1)

    def own(self, t: int, delta_w: Float[Tensor, "d d"], chi: Float[Tensor, "*d"]) -> Own:
        """Circuit t's own part of W, with its Delta w."""
        sums = [t, *(self.T + self.back.holding(t)).tolist()]
        to, read = [self.scatter.holding(k) for k in sums], [self.gather.of(k) for k in sums]
        rows, columns = torch.cat(to).unique(), torch.cat(read).unique()
        part = delta_w.new_zeros(len(rows), len(columns), *delta_w.shape)
        for k, (here, there) in enumerate(zip(to, read, strict=True)):
            at = torch.searchsorted(rows, here).unsqueeze(1), torch.searchsorted(columns, there)
            part[at] += (-1 if k else 1) * delta_w / self.share
        return rows, columns, part

    def _number(
        self, parts: Int[Tensor, "3 sums"], chi: Float[Tensor, "*d"]
    ) -> Float[Tensor, "sums blocks 1"]:
        """whole + used / share + slope chi."""
        whole, used, slope = parts.unsqueeze(-1)
        return (whole + used.to(chi) / self.share + slope * chi.reshape(1, -1)).unsqueeze(-1)


def apply_but_chi(wiring: nn.Module, apply: Callable[[], nn.Module]) -> nn.Module:
    """What `apply` makes of the wiring, chi as it was: float64 on the CPU, for any device."""
    chi = wiring._buffers.pop("chi")
    try:
        return apply()
    finally:
        wiring._buffers["chi"] = chi


def checked_tables(tables: Tensor, n: int) -> Int[Tensor, "L T S"]:
    """The tables of a wiring, or a ValueError that says what is wrong with them."""
    if not isinstance(tables, Tensor):
        raise ValueError(f"tables is {a(tables)}; it must be a torch.Tensor of (L, T, S) integers")
    if tables.ndim != 3 or 0 in tables.shape or tables.dtype not in INTEGERS:
        raise ValueError(
            f"tables has shape {tuple(tables.shape)} and dtype {tables.dtype}; "
            "it must be (L, T, S) integers"
        )
    tables, n = tables.long(), places(n)
    low, high = int(tables.min()), int(tables.max())
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise ValueError(f"tables holds position {wrong}; positions are 0..{n - 1}")
    ordered = tables.sort(-1).values
    twice = ordered[..., 1:][ordered[..., 1:] == ordered[..., :-1]]
    if len(twice):
        raise ValueError(
            f"tables holds position {int(twice[0])} twice in a circuit's row; they must differ"
        )
    return tables


def check_alike(tables: Int[Tensor, "L T S"]) -> None:
    """Raise ValueError if the tables differ by layer."""
    differing = (tables != tables[0]).flatten(1).any(1)
    if bool(differing.any()):
        layer = int(differing.nonzero()[0]) + 1
        raise ValueError(
            f"tables differ in layers 1 and {layer}; this wiring has one table for all layers"
        )


def dense(
    layer: nn.Module,
    w: Float[Tensor, "T d d"],
    w_mean: Float[Tensor, "d d"],
    facts: object,
    *,
    n: int,
) -> Float[Tensor, "D D"]:
    """The dense weights of a layer, blocks stacked as in 5.14: its product, of unit vectors."""
    d = len(w_mean)
    units = unit(d * n, w).view(d, n, -1).transpose(0, 1)
    gather: nn.Module = layer.gather  # type: ignore[assignment]  # a module by name
    columns = [layer(gather(A), w, w_mean, facts) for A in units.split(COLUMNS, 2)]
    return torch.cat(columns, 2).transpose(0, 1).reshape(d * n, d * n)
