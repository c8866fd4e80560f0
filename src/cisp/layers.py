"""One layer of a network as a product that never builds its weights (5.20, 5.23).

The facts of a layer are stated once, in `Layer`; product and dense weights follow from them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

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

        M_t = Delta w_t / share + m_t w_mean,
        M_k = - sum_{t taken back by k} Delta w_t / share + m_k w_mean    for k >= T,

    with m = whole + used / share + slope chi. share: how many positions a circuit's own part comes
    from. whole, used, slope: (sums,) ints, the rows of `mean`. taken_back: circuits, and the sums
    that take them back. chi: one number, or (d,) where it differs by block.
    """

    mean: Tensor
    net: Tensor
    taken_back: Tensor

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
        net = (torch.arange(mean.shape[1]) < T).long()  # the circuits in a sum, taken back as -1
        net = net.index_add(0, taken_back[1], torch.ones_like(taken_back[1]), alpha=-1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("net", net, persistent=False)
        self.register_buffer("taken_back", taken_back, persistent=False)

    def forward(
        self,
        gathered: Float[Tensor, "sums d batch"],
        w: Float[Tensor, "T d d"],
        w_mean: Float[Tensor, "d d"],
        chi: Float[Tensor, "*d"],
    ) -> Float[Tensor, "n d batch"]:
        """W A, from what `gather` makes of A."""
        kind = torch.promote_types(w.dtype, torch.float32)  # half precision would lose w_mean
        own, (circuits, sums) = w.to(kind) / self.share, self.taken_back
        others = own.new_zeros(len(self.net) - self.T, *own.shape[1:])
        others = others.index_add(0, sums - self.T, own[circuits], alpha=-1)
        beside = self._of_mean(chi, less=self.net).to(own)  # w_mean beside the whole w_t
        matrices = torch.cat([own, others]) + beside * w_mean.to(own)
        return self.scatter(matrices.to(w) @ gathered)

    def W(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], chi: Float[Tensor, "*d"]
    ) -> Float[Tensor, "D D"]:
        """The dense weights, blocks stacked as in 5.14: the product, of unit vectors."""
        d, n = len(w_mean), len(self.scatter.starts)
        units = torch.eye(d * n).to(w).view(d, n, -1).transpose(0, 1)
        columns = [self(self.gather(A), w, w_mean, chi) for A in units.split(COLUMNS, 2)]
        return torch.cat(columns, 2).transpose(0, 1).reshape(d * n, d * n)

    def W_emb(self, chi: Float[Tensor, "*d"]) -> Float[Tensor, "blocks n n"]:
        """What each entry takes of w_mean: one for all blocks, or one for each."""
        units = torch.eye(len(self.scatter.starts)).to(chi).unsqueeze(1)
        mean = self._of_mean(chi)
        columns = [self.scatter(mean * self.gather(A)) for A in units.split(COLUMNS, 2)]
        return torch.cat(columns, 2).transpose(0, 1)

    def own(self, t: int, delta_w: Float[Tensor, "d d"]) -> Float[Tensor, "D D"]:
        """Circuit t's own part of W, with its Delta w."""
        d, n = len(delta_w), len(self.scatter.starts)
        part = torch.zeros(d, n, d, n).to(delta_w)
        circuits, sums = self.taken_back
        for k, sign in ((t, 1), *((k, -1) for k in sums[circuits == t].tolist())):
            to, read = self.scatter.holding(k).unsqueeze(1), self.gather.of(k)
            part[:, to, :, read] += sign * delta_w / self.share
        return part.reshape(d * n, d * n)

    def _of_mean(
        self, chi: Float[Tensor, "*d"], less: Tensor | int = 0
    ) -> Float[Tensor, "sums blocks 1"]:
        """m of each sum, without what goes with `less` circuits."""
        whole, used, slope = self.mean.unsqueeze(-1)
        used = used - less.unsqueeze(-1) if isinstance(less, Tensor) else used
        return (whole + used.to(chi) / self.share + slope * chi.reshape(1, -1)).unsqueeze(-1)
