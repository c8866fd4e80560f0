"""What is known of each circuit: its direction, its subspace, and its part of the weights."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.network import Network

STATES = 256  # inputs of each circuit from which its mean state and their span are taken
SMALL = 1e-9  # an eigenvalue or a squared singular value below so much of the largest is 0


def alone(network: Network) -> Float[Tensor, "layers states T d"]:
    """States a^0..a^L of every circuit, each run alone on seeded inputs of its own."""
    T = network.T
    active = torch.arange(T, device=network.tables.device).expand(STATES, T)
    with torch.no_grad():
        circuits = network.circuits
        return circuits.run(circuits.sample_inputs(batch=STATES, z=T, active=active), active)


def placed(network: Network, a: Float[Tensor, "T d k"], layer: int) -> Float[Tensor, "T D k"]:
    """Vectors of each circuit's state on its positions in the layer, of the same length."""
    T, d, k = a.shape
    table = network.tables[layer - 1][:, None, :, None].expand(T, d, network.S, k)
    found = a.new_zeros(T, d, network.n, k)
    found.scatter_(2, table, a.unsqueeze(2).expand_as(table) / network.S**0.5)
    return found.flatten(1, 2)


def span(a: Float[Tensor, "states T d"]) -> Float[Tensor, "T d r"]:
    """Orthonormal columns of what each circuit's states span, zeros where one spans fewer."""
    second = torch.einsum("mti,mtj->tij", a.double(), a.double())
    values, vectors = torch.linalg.eigh(second)
    kept = values > SMALL * values.amax(1, keepdim=True).clamp(min=1e-300)
    r = int(kept.sum(1).max())
    return (vectors * kept.unsqueeze(1)).flip(2)[..., :r].to(a)


@dataclass(frozen=True, eq=False)
class Components:
    """A part of the weights (D, D) for each of T circuits, held where they are not 0.

    rows (T, R), columns (T, C): a circuit's neurons in the layer and in the one before.
    blocks (T, R, C): its weights between them. len is T, iteration gives dense parts.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> parts = components(network, 2)
    >>> U, V = parts.factors(0)
    >>> len(parts), parts.rank(0), bool((U @ V - parts.dense(0)).abs().max() < 1e-5)
    (6, 2, True)
    >>> torch.equal(parts.sparse(0).to_dense(), parts.dense(0)), tuple(parts.total().shape)
    (True, (48, 48))
    """

    rows: Int[Tensor, "T R"]
    columns: Int[Tensor, "T C"]
    blocks: Float[Tensor, "T R C"]
    D: int

    def __len__(self) -> int:
        return len(self.blocks)

    def dense(self, t: int) -> Float[Tensor, "D D"]:
        """The part of circuit t."""
        part = self.blocks.new_zeros(self.D, self.D)
        part[self.rows[t].unsqueeze(1), self.columns[t]] = self.blocks[t]
        return part

    def sparse(self, t: int) -> Tensor:
        """The part of circuit t as a sparse COO tensor (D, D)."""
        R, C = self.blocks.shape[1:]
        size = self.D, self.D
        places = torch.stack([self.rows[t].repeat_interleave(C), self.columns[t].repeat(R)])
        return torch.sparse_coo_tensor(
            places, self.blocks[t].flatten(), size, check_invariants=True
        )

    def factors(self, t: int) -> tuple[Float[Tensor, "D r"], Float[Tensor, "r D"]]:
        """U (D, r) and V (r, D) of the part of circuit t, U V: its rank-one pieces by size."""
        u, s, v = torch.linalg.svd(self.blocks[t].double(), full_matrices=False)
        r = int((s.square() > SMALL * s[0].square()).sum()) if s[0] > 0 else 0
        U, V = s.new_zeros(self.D, r), s.new_zeros(r, self.D)
        U[self.rows[t]], V[:, self.columns[t]] = u[:, :r] * s[:r], v[:r]
        return U.to(self.blocks), V.to(self.blocks)

    def rank(self, t: int) -> int:
        """The number of rank-one pieces that the part of circuit t consists of."""
        return self.factors(t)[1].shape[0]

    def total(self) -> Float[Tensor, "D D"]:
        """The sum of all circuits' parts."""
        flat = (self.rows.unsqueeze(2) * self.D + self.columns.unsqueeze(1)).flatten()
        summed = self.blocks.new_zeros(self.D**2).index_add_(0, flat, self.blocks.flatten())
        return summed.view(self.D, self.D)


def components(network: Network, layer: int, *, whole: bool = False) -> Components:
    """Each circuit's own part of the weights of layer 2..L, or its whole part.

    own     what only this circuit puts into W: `Network.component`. With the part that all share,
            `Network.shared`, they sum to W.
    whole   what W would hold on the circuit's own entries if no other circuit were there: its own
            part and the shared one there. Alone it computes the circuit; whole parts overlap and
            do not sum to W.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> own, whole = (components(network, 2, whole=whole) for whole in (False, True))
    >>> tuple(own.blocks.shape), tuple(whole.blocks.shape)
    ((6, 8, 8), (6, 8, 8))
    """
    own = [network.own(layer, t) for t in range(network.T)]
    rows, columns = (torch.stack([part[k] for part in own]) for k in (0, 1))
    blocks = torch.stack([part[2] for part in own])
    if whole:
        W_emb = network.W_emb(layer).expand(network.d, -1, -1)
        entries = W_emb[:, rows.unsqueeze(2), columns.unsqueeze(1)]  # d T R C
        blocks = blocks + torch.einsum("itrc,ij->trcij", entries, network.mean(layer))
    i = torch.arange(network.d, device=rows.device).unsqueeze(1) * network.n
    return Components(
        rows=(i + rows.unsqueeze(1)).flatten(1),
        columns=(i + columns.unsqueeze(1)).flatten(1),
        blocks=blocks.permute(0, 3, 1, 4, 2).flatten(3, 4).flatten(1, 2),
        D=network.D,
    )


def arrays(part: Components) -> dict[str, np.ndarray]:
    """The components as arrays."""
    return {name: getattr(part, name).cpu().numpy() for name in ("rows", "columns", "blocks")}
