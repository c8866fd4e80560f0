"""The wiring in which a position hears its circuits' other positions one by one."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisp.layers import Bags, dense

HALF = 0.5  # counts and flags are whole numbers


class Channels(nn.Module):
    """A channel for each of the S - 1 other positions of a position's circuits.

    Beyond the post, see `superpose_exact`.

    Every layer has the same table, without triangles. Channel c of a position in the x-th place of
    its circuits hears, for each of them, the position in place x + c (mod S). The neurons of a
    position are `first` counts or flags, then d' values for each channel. With E_c the rows of the
    values of channel c, v_t the (d', d) matrix that gives circuit t's next values from its state,
    and K_c the sum of neuron 0 over the positions heard,

        W = w_mean (x) 1 + sum_c sum_t (E_c v_t + counts_c e_0^T) (x) |t's places><heard in c|.

    The weights of a circuit alone are w_t = w_mean + sum_c (E_c v_t + counts_c e_0^T): its places
    all hold the same.

    tables: (L, T, S). counts: (L, S-1, d), what K_c adds to each neuron. flags: (L, first), the
    first neurons of a circuit that runs alone, in layers 1..L.
    """

    FORMAT, FACTS = "cisp exact network 1", ("tables", "counts", "flags")

    n: int
    tables: Tensor
    chi: Tensor
    counts: Tensor
    flags: Tensor
    layers: nn.ModuleList
    last: nn.Module

    def __init__(self, tables: Tensor, counts: Tensor, flags: Tensor, *, n: int) -> None:
        super().__init__()
        self.n = n
        for name, value in (("tables", tables), ("counts", counts), ("flags", flags)):
            self.register_buffer(name, value)
        zero = torch.zeros(len(tables), dtype=counts.dtype)
        self.register_buffer("chi", zero.to(tables.device), persistent=False)
        self.layers = nn.ModuleList(Heard(self, layer) for layer in range(2, len(tables) + 1))
        self.last = nn.Identity()

    def read(
        self, A: Float[Tensor, "n d batch"], gathered: Tensor, layer: int
    ) -> Float[Tensor, "T d batch"]:
        """S times each circuit's state at the first of its positions that it has for itself.

        A circuit is on if all its positions are; else, or where it shares all, 0. Not linear.
        """
        table, first, S = self.tables[0], self.flags.shape[1], self.tables.shape[2]
        on = A[:, 0] > HALF
        if first == 1 or layer == 1:
            alone = on & (A[:, 0] < 1 + HALF)
        else:
            alone = A[:, 1:first].sum(1) > HALF
        here = alone[table]  # T S batch
        position = table[:, -1:]
        for x in reversed(range(S - 1)):  # T batch
            position = torch.where(here[:, x], table[:, x : x + 1], position)
        values = A[:, first:].unflatten(1, (S - 1, -1)).sum(1)
        state = values[position, :, torch.arange(A.shape[2], device=A.device)].transpose(1, 2)
        active = (on[table].all(1) & here.any(1)).unsqueeze(1).to(A)
        flags = self.flags[layer - 1].to(A).view(1, -1, 1).expand(len(table), -1, A.shape[2])
        rest = A.new_zeros(len(table), A.shape[1] - first - state.shape[1], A.shape[2])
        return S * active * torch.cat([flags, state, rest], 1)


class Heard(nn.Module):
    """One layer of `Channels`."""

    def __init__(self, wiring: Channels, layer: int) -> None:
        super().__init__()
        self.n, self.first = wiring.n, wiring.flags.shape[1]
        self.gather = nn.Identity()
        T, S = wiring.tables.shape[1:]
        places = torch.arange(T * S).view(T, S)
        table = wiring.tables[0].cpu()
        order = table.flatten().argsort(stable=True)
        heard = [places.roll(-c, 1).flatten()[order] for c in range(1, S)]
        bags = [Bags(table.flatten()[order], rows, self.n) for rows in heard]
        self.channels = nn.ModuleList(bags).to(wiring.tables.device)
        self.register_buffer("table", wiring.tables[0], persistent=False)
        self.register_buffer("counts", wiring.counts[layer - 1], persistent=False)

    table: Tensor
    counts: Tensor

    def forward(
        self,
        A: Float[Tensor, "n d batch"],
        w: Float[Tensor, "T d d"],
        w_mean: Float[Tensor, "d d"],
        chi: Float[Tensor, ""],
    ) -> Float[Tensor, "n d batch"]:
        """W A."""
        source = A[self.table]  # T S d batch
        values = torch.einsum("tij,tsjb->tsib", self._values(w, w_mean), source)
        both = torch.cat([source[:, :, :1], values], 2).flatten(0, 1)
        W_A = torch.einsum("ij,pjb->pib", w_mean, A)
        for c, channel in enumerate(self.channels):
            heard = channel(both)
            W_A = W_A + self.counts[c].to(A).view(1, -1, 1) * heard[:, :1]
            W_A[:, self._rows(c, values.shape[2])] += heard[:, 1:]
        return W_A

    def W(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], chi: Float[Tensor, ""]
    ) -> Float[Tensor, "D D"]:
        """The dense weights."""
        return dense(self, w, w_mean, chi, n=self.n)

    def W_emb(self, chi: Float[Tensor, ""]) -> Float[Tensor, "1 n n"]:
        """What goes with w_mean: every position itself."""
        return torch.eye(self.n).to(self.counts).unsqueeze(0)

    def own(self, t: int, delta_w: Float[Tensor, "d d"]) -> Float[Tensor, "D D"]:
        """Circuit t's own part of W: what its places hear of each other."""
        d, S = len(delta_w), self.table.shape[1]
        values = self._values(delta_w.unsqueeze(0), torch.zeros_like(delta_w))[0]
        part = torch.zeros(d, self.n, d, self.n).to(delta_w)
        for c in range(S - 1):
            hears = torch.zeros_like(delta_w)
            hears[:, 0] = self.counts[c]
            hears[self._rows(c, len(values))] += values
            part[:, self.table[t], :, self.table[t].roll(-c - 1)] += hears
        return part.reshape(d * self.n, d * self.n)

    def _values(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"]
    ) -> Float[Tensor, "T values d"]:
        """v_t, from the rows of the first channel in the weights of a circuit alone."""
        each = (w.shape[1] - self.first) // len(self.counts)
        own = (w - w_mean)[:, self._rows(0, each)].clone()
        own[:, :, 0] -= self.counts.sum(0)[self._rows(0, each)].to(w)
        return own

    def _rows(self, channel: int, each: int) -> slice:
        start = self.first + channel * each
        return slice(start, start + each)
