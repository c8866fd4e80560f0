"""The wiring in which a position hears its circuits' other positions one by one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cisp.circuits import SmallCircuits
from cisp.inputs import finite, unit
from cisp.layers import Bags, Own, check_alike, checked_tables, dense

HALF = 0.5  # counts and flags are whole numbers

Facts = tuple[Tensor, Tensor, int]  # table (T, S), counts (S-1, d), first


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

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=4)
    >>> network = cisp.superpose_exact(circuits, D=60, z=2, L=2)
    >>> isinstance(network.wiring, Channels), network.d
    (True, 5)
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
        self.register_buffer("tables", checked_tables(tables, n))
        L, _, S = self.tables.shape
        counts, flags = finite("counts", counts), finite("flags", flags)
        if (
            counts.shape[:2] != (L, S - 1)
            or flags.shape[:1] != (L,)
            or flags.ndim * counts.ndim != 6
        ):
            raise ValueError(
                f"counts has shape {tuple(counts.shape)} and flags {tuple(flags.shape)}; "
                f"they must be ({L}, {S - 1}, d) and ({L}, first)"
            )
        for name, value in (("counts", counts), ("flags", flags)):
            self.register_buffer(name, value)
        zero = counts.new_zeros(L)
        self.register_buffer("chi", zero.to(tables.device), persistent=False)
        self.register_load_state_dict_post_hook(_derive)
        _derive(self)

    def facts(self, layer: int) -> Facts:
        """What a layer needs beside weights: the table, counts, and how many neurons are flags.

        >>> import cisp
        >>> network = cisp.superpose_exact(cisp.conditional_rotations(T=4), D=60, z=2, L=2)
        >>> table, counts, first = network.wiring.facts(2)
        >>> tuple(table.shape), tuple(counts.shape), first
        ((4, 3), (2, 5), 1)
        """
        return self.tables[0], self.counts[layer - 1], self.flags.shape[1]

    def check(self, circuits: SmallCircuits, w_mean: Float[Tensor, "L d d"]) -> None:
        """Raise ValueError unless w_t = w_mean + sum_c (E_c v_t + counts_c e_0^T), from layer 2.

        >>> import cisp
        >>> network = cisp.superpose_exact(cisp.conditional_rotations(T=4), D=60, z=2, L=2)
        >>> network.wiring.check(network.circuits, network.w_mean)  # they fit: nothing is raised
        """
        first = self.flags.shape[1]
        for layer in range(2, circuits.L + 1):
            own = circuits.at(layer)[0] - w_mean[layer - 1]
            own[..., 0] -= self.counts[layer - 1].sum(0).to(own)
            values = own[:, first:].unflatten(1, (len(self.counts[0]), -1))
            off = max(
                float(own[:, :first].abs().max()), float((values - values[:, :1]).abs().max())
            )
            if off > 1e-4 * float(circuits.at(layer)[0].abs().max()):
                raise ValueError(
                    f"the circuits' weights in layer {layer} are off by {off:.3g} from those of "
                    "this wiring, w_mean + its counts + the same values in each channel"
                )

    def read(
        self, A: Float[Tensor, "n d batch"], gathered: Tensor, layer: int
    ) -> Float[Tensor, "T d batch"]:
        """S times each circuit's state at the first of its positions that it has for itself.

        A circuit is on if all its positions are; else, or where it shares all, 0. Not linear.

        >>> import cisp
        >>> network = cisp.superpose_exact(cisp.conditional_rotations(T=4), D=60, z=2, L=2)
        >>> active, a0 = network.sample(batch=5, z=2)
        >>> A = network(network.embed(a0, active))[2].permute(2, 1, 0)
        >>> tuple(network.wiring.read(A, A, layer=2).shape)
        (4, 5, 5)
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
    """What the positions of a layer hear in each channel."""

    def __init__(self, table: Int[Tensor, "T S"], n: int) -> None:
        super().__init__()
        self.n, self.gather = n, nn.Identity()
        T, S = table.shape
        places = torch.arange(T * S, device=table.device).view(T, S)
        order = table.flatten().argsort(stable=True)
        heard = [places.roll(-c, 1).flatten()[order] for c in range(1, S)]
        self.channels = nn.ModuleList(
            Bags(table.flatten()[order], rows, n, T * S) for rows in heard
        )

    def forward(
        self,
        A: Float[Tensor, "n d batch"],
        w: Float[Tensor, "T d d"],
        w_mean: Float[Tensor, "d d"],
        facts: Facts,
    ) -> Float[Tensor, "n d batch"]:
        """W A."""
        table, counts, first = facts
        source = A[table]  # T S d batch
        values = torch.einsum("tij,tsjb->tsib", _values(w, w_mean, facts), source)
        both = torch.cat([source[:, :, :1], values], 2).flatten(0, 1)
        W_A = torch.einsum("ij,pjb->pib", w_mean, A)
        for c, channel in enumerate(self.channels):
            heard = channel(both)
            W_A = W_A + counts[c].to(A).view(1, -1, 1) * heard[:, :1]
            W_A[:, _rows(c, values.shape[2], first)] += heard[:, 1:]
        return W_A

    def W(
        self, w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], facts: Facts
    ) -> Float[Tensor, "D D"]:
        """The dense weights."""
        return dense(self, w, w_mean, facts, n=self.n)

    def W_emb(self, facts: Facts) -> Float[Tensor, "1 n n"]:
        """What goes with w_mean: every position itself."""
        return unit(self.n, facts[1]).unsqueeze(0)

    def own(self, t: int, delta_w: Float[Tensor, "d d"], facts: Facts) -> Own:
        """Circuit t's own part of W, with its Delta w: what its places hear of each other."""
        table, counts, first = facts
        values = _values(delta_w.unsqueeze(0), torch.zeros_like(delta_w), facts)[0]
        x, S = torch.arange(table.shape[1], device=table.device), table.shape[1]
        part = delta_w.new_zeros(S, S, *delta_w.shape)
        for c in range(len(counts)):
            hears = torch.zeros_like(delta_w)
            hears[:, 0] = counts[c]
            hears[_rows(c, len(values), first)] += values
            part[x, (x + c + 1) % S] += hears
        return table[t], table[t], part


def _derive(wiring: Channels, _: object = None) -> None:
    """The layers from the tables, at first and when a state is loaded."""
    check_alike(wiring.tables)
    heard = Heard(wiring.tables[0].cpu(), wiring.n).to(wiring.tables.device)
    wiring.layers = nn.ModuleList([heard] * (len(wiring.tables) - 1))
    wiring.last = nn.Identity()


def _values(
    w: Float[Tensor, "T d d"], w_mean: Float[Tensor, "d d"], facts: Facts
) -> Float[Tensor, "T values d"]:
    """v_t, from the rows of the first channel in the weights of a circuit alone."""
    _, counts, first = facts
    rows = _rows(0, (w.shape[1] - first) // len(counts), first)
    own = (w - w_mean)[:, rows].clone()
    own[:, :, 0] -= counts.sum(0)[rows].to(w)
    return own


def _rows(channel: int, each: int, first: int) -> slice:
    start = first + channel * each
    return slice(start, start + each)
