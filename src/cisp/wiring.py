"""How the layers of a network are wired: which positions they read, by what weights (5.23)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisp.allocation import Table
from cisp.arguments import count, told
from cisp.inputs import finite
from cisp.layers import Bags, Layer, apply_but_chi, check_alike, checked_tables


class Dealt(nn.Module):
    """The post's wiring: each layer deals the circuits over positions of its own (5.23).

    W_emb is 1/S where any circuit uses an entry, else -chi. P = sum_t |e_t^l><e_t^{l-1}| - X marks
    the used entries, where X counts how often one is used beyond once, so that

        W_emb = (1/S + chi) P - chi 11^T.

    A layer's sums are the T circuits', the n rows of X, and that of all positions.

    tables: (L, T, S) ints, row l-1 for layer l. chi: (L,), or (L, d) where it differs by block;
    chi[0] is unused. It balances each layer (5.24) unless given.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> isinstance(network.wiring, Dealt), tuple(network.W_emb(2).shape)
    (True, (12, 12))
    """

    FORMAT, FACTS = "cisp network 1", ("tables", "chi")

    n: int
    tables: Tensor
    chi: Tensor
    layers: nn.ModuleList
    last: Bags

    def __init__(self, tables: Tensor, chi: Tensor | None = None, *, n: int) -> None:
        super().__init__()
        self.n = n
        self.register_buffer("tables", checked_tables(tables, n))
        self.register_load_state_dict_post_hook(_derive)
        tables = self.tables
        chi = _balanced(tables, n) if chi is None else finite("chi", chi)
        if chi.ndim not in (1, 2) or len(chi) != len(tables):
            raise ValueError(
                f"chi has shape {tuple(chi.shape)}; it must be finite, ({len(tables)},) or "
                f"({len(tables)}, d)"
            )
        self.register_buffer("chi", chi.cpu())
        _derive(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        apply_but_chi(self, lambda: super(Dealt, self)._apply(fn, recurse))
        return self

    def facts(self, layer: int) -> Float[Tensor, "*d"]:
        """What a layer needs beside weights, chi.

        >>> wiring = Dealt(torch.tensor([[[0, 1], [0, 2], [1, 3]]] * 2), n=4)  # L T S
        >>> round(wiring.facts(2).item(), 2)
        0.7
        """
        return self.chi[layer - 1]

    def read(self, A: Tensor, gathered: Tensor, layer: int) -> Float[Tensor, "T d batch"]:
        """<e_t|A> of every circuit, S times its read-out, from what was gathered.

        >>> wiring = Dealt(torch.tensor([[[0, 1], [0, 2], [1, 3]]] * 2), n=4)  # L T S
        >>> A = torch.ones(4, 3, 5)  # n d batch
        >>> wiring.read(A, wiring.last(A), 2)[:, 0, 0].tolist()  # S times their mean
        [2.0, 2.0, 2.0]
        """
        return gathered[: self.tables.shape[1]]

    def made(self) -> list[Layer]:
        """Layers 2..L."""
        return [_dealt(*pair, self.n) for pair in pairwise(self.tables.cpu())]


class Extrinsic(nn.Module):
    """The wiring in which a circuit reaches a position from its other positions only.

    Beyond the post, see `superpose_extrinsic`. All layers have the same table, and W_emb = 1:

        W = w_mean (x) 1 + 1/(S-1) sum_t Delta w_t (x) (|e_t><e_t| - diag e_t).

    A layer's sums are the T circuits', which send to all S positions what comes from all, and those
    of the n positions, which take back what a position sent to itself.

    Raises ValueError if S = 1 or if the tables differ by layer.

    >>> import cisp
    >>> circuits = cisp.conditional_rotations(T=6, bias=2)
    >>> network = cisp.superpose_extrinsic(circuits, D=48, S=2, L=2)
    >>> isinstance(network.wiring, Extrinsic), torch.equal(network.W_emb(2), torch.eye(12))
    (True, True)
    """

    FORMAT, FACTS = "cisp extrinsic network 1", ("tables", "chi")

    n: int
    tables: Tensor
    chi: Tensor
    layers: nn.ModuleList
    last: Bags

    def __init__(self, tables: Tensor, chi: Tensor | None = None, *, n: int) -> None:
        super().__init__()
        self.n = n
        self.register_buffer("tables", checked_tables(tables, n))
        self.register_load_state_dict_post_hook(_derive)
        count("S", tables.shape[2], low=2)
        if chi is not None and bool(finite("chi", chi).any()):
            raise ValueError(f"chi={told(chi)} is not allowed; this wiring has none, or zeros")
        zero = torch.zeros(len(tables), dtype=torch.float64, device="cpu")
        self.register_buffer("chi", zero)
        _derive(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        apply_but_chi(self, lambda: super(Extrinsic, self)._apply(fn, recurse))
        return self

    def facts(self, layer: int) -> Float[Tensor, "*d"]:
        """What a layer needs beside weights, chi.

        >>> wiring = Extrinsic(torch.tensor([[[0, 1], [0, 2], [1, 3]]] * 2), n=4)  # L T S
        >>> round(wiring.facts(2).item(), 2)
        0.0
        """
        return self.chi[layer - 1]

    def read(self, A: Tensor, gathered: Tensor, layer: int) -> Float[Tensor, "T d batch"]:
        """<e_t|A> of every circuit, S times its read-out, from what was gathered.

        >>> wiring = Extrinsic(torch.tensor([[[0, 1], [0, 2], [1, 3]]] * 2), n=4)  # L T S
        >>> A = torch.ones(4, 3, 5)  # n d batch
        >>> wiring.read(A, wiring.last(A), 2)[:, 0, 0].tolist()  # S times their mean
        [2.0, 2.0, 2.0]
        """
        return gathered[: self.tables.shape[1]]

    def made(self) -> list[Layer]:
        """Layers 2..L, all alike."""
        L, T, S = self.tables.shape
        check_alike(self.tables)
        table, every = self.tables[0].cpu().flatten(), torch.arange(self.n, device="cpu")
        sums, positions = torch.cat([_circuits(T, S), T + every]), torch.cat([table, every])
        layer = Layer(
            Bags(sums, positions, T + self.n, self.n),
            _received(positions, sums, self.n, T + self.n),
            T=T,
            share=S - 1,
            mean=torch.tensor([[0, 0, 0]] * T + [[1, 0, 0]] * self.n, device="cpu").T,
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

    >>> table, after = np.array([[0, 1], [0, 2], [1, 3]]), np.array([[1, 2], [0, 3], [0, 1]])
    >>> round(balanced_chi(after, table, 4), 2)
    1.21
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
    return torch.tensor(balances, dtype=torch.float64, device="cpu")


def _dealt(table: Tensor, after: Tensor, n: int) -> Layer:
    """One dealt layer: from the positions of `table` to those of `after`."""
    T, S = table.shape
    every = torch.arange(n, device="cpu")
    last = torch.full_like(every, T + n)
    entries = (after.unsqueeze(-1) * n + table.unsqueeze(-2)).flatten().sort().values
    X = entries[1:][entries[1:] == entries[:-1]]
    read = torch.cat([_circuits(T, S), T + X // n, last])
    sent = torch.cat([_circuits(T, S), T + every, last])
    return Layer(
        Bags(read, torch.cat([table.flatten(), X % n, every]), T + n + 1, n),
        _received(torch.cat([after.flatten(), every, every]), sent, n, T + n + 1),
        T=T,
        share=S,
        mean=torch.tensor([[0, 1, 1]] * T + [[0, -1, -1]] * n + [[0, 0, -1]], device="cpu").T,
    )


def _derive(wiring: Wiring, _: object = None) -> None:
    """The layers and what reads the last, from the tables: at first and when a state is loaded."""
    L, T, S = wiring.tables.shape
    last = Bags(_circuits(T, S), wiring.tables[-1].cpu().flatten(), T, wiring.n)
    wiring.layers = nn.ModuleList(wiring.made()).to(wiring.tables.device)
    wiring.last = last.to(wiring.tables.device)


def _circuits(T: int, S: int) -> Tensor:
    """Each circuit S times, in order."""
    return torch.arange(T, device="cpu").repeat_interleave(S)


def _received(positions: Tensor, sums: Tensor, n: int, of_sums: int) -> Bags:
    """What each position receives: sum sums[k] goes to position positions[k]."""
    order = positions.argsort(stable=True)
    return Bags(positions[order], sums[order], n, of_sums)
