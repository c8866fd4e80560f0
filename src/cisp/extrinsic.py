"""Networks in which no circuit reads itself at its own position: no seizure (beyond the post)."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.allocation import Table
from cisp.arguments import count
from cisp.circuits import Seed, SmallCircuits
from cisp.designs import transversal_design
from cisp.network import Bags, Network, mean_of, place

TRIED = 4096  # inputs on which a new network is tried, or one for each circuit if there are more


def superpose_extrinsic(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    L: int | None = None,
    rng: Seed = 0,
    allocate: Callable[..., Table] = transversal_design,
    w_mean: Tensor | None = None,
) -> "ExtrinsicNetwork":
    """The network of width D that computes any one circuit exactly, each neuron on S positions.

    Beyond the post. Every layer has the same table, W_emb is the identity, and a circuit reaches a
    position from its other S - 1 positions only:

        W^l = w_mean (x) 1 + 1/(S-1) sum_t Delta w_t (x) (|e_t><e_t| - diag e_t),   l >= 2.

    w_mean is the sample mean of 5.18 unless given; any other is as exact, since Delta w_t is the
    rest. With v alone active and at most one position shared by two circuits, a position p of v
    receives w_mean a_v + Delta w_v a_v = w_v a_v, exactly: another circuit through p has all its
    other positions outside v, where nothing is on. And nothing is on there as long as the bias
    outweighs what leaks: a position outside v receives Delta w_t a_v / (S-1) from each circuit t
    through it that meets v, of which there are at most S (S-1 in a transversal design of at most
    q^2 circuits).

    Raises ValueError as `superpose` does, if S = 1, and if a neuron outside a circuit wakes when it
    runs alone. To see that, every circuit is run on a few inputs; inputs not tried may do worse.

    >>> from cisp import conditional_rotations
    >>> network = superpose_extrinsic(conditional_rotations(T=20, bias=2), D=100, S=3, L=2)
    >>> tuple(network.W(2).shape)
    (100, 100)
    """
    count("S", S, low=2)
    circuits = circuits.with_layers(circuits.L if L is None else L)
    _, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=1)
    rng = np.random.default_rng(rng)
    tables = torch.from_numpy(table[rng.permutation(circuits.T)]).repeat(circuits.L, 1, 1)
    chi = torch.zeros(circuits.L, dtype=torch.float64)
    network = ExtrinsicNetwork(circuits, tables, chi, mean_of(circuits, w_mean), D=D)
    _check_silence(network, rng)
    return network


class ExtrinsicNetwork(Network):
    """The network made by `superpose_extrinsic`; it has all that `Network` has.

    Its forward pass sums over a circuit's S positions and takes back, position by position, what
    the position itself had put in:

        W^l A = sum_t |e_t> Delta w_t/(S-1) <e_t|A> + (w_mean - sum_{t on p} Delta w_t/(S-1)) A_p.
    """

    FORMAT = "cisp extrinsic network 1"

    def W_emb(self, layer: int) -> Float[Tensor, "n n"]:
        """The embedding matrix of layer 2..L, the identity."""
        count("layer", layer, low=2, high=self.L)
        return torch.eye(self.n).to(self.w)

    def _links(self, layer: int) -> tuple[Int[Tensor, "T links"], Int[Tensor, "T links"]]:
        rows, columns = super()._links(layer)
        others = ~torch.eye(self.S, dtype=torch.bool).flatten()
        return rows[:, others], columns[:, others]

    def _bags(self) -> list[Bags]:
        """The same in each layer: each circuit's positions and each position; back to these."""
        every, table = torch.arange(self.n), self.tables[0].cpu().flatten()
        bags = torch.cat([torch.arange(self.T).repeat_interleave(self.S), self.T + every])
        rows = torch.cat([table, every])
        return [Bags(bags, rows, rows, bags, self.n)] * self.L

    def _multiply(
        self, gathered: Float[Tensor, "sums d batch"], layer: int
    ) -> Float[Tensor, "n d batch"]:
        parts = self._delta(layer) / (self.S - 1)
        own = parts.new_zeros(self.n, self.d, self.d)
        own = own.index_add(0, self.tables[0].flatten(), parts.repeat_interleave(self.S, 0))
        matrices = torch.cat([parts, self._mean(layer) - own])
        return self._index(layer).scatter(matrices @ gathered)


def _check_silence(network: Network, rng: np.random.Generator) -> None:
    """Raise ValueError if a neuron that belongs to others is on while one circuit runs alone."""
    active = torch.arange(network.T).repeat(-(-TRIED // network.T)).unsqueeze(1)
    a0 = network.circuits.sample_inputs(batch=len(active), z=1, rng=rng)
    active = active.to(network.tables.device)
    with torch.no_grad():
        for some, inputs in zip(active.split(256), a0.split(256), strict=True):
            positions = network.tables[0][some[:, 0]].T
            A0 = network.embed(inputs, some).permute(2, 1, 0)
            for layer, (A, _) in enumerate(network.stream(A0), 1):
                outside = A.amax(1).scatter(0, positions, 0.0)
                if outside.max() > torch.finfo(A.dtype).eps ** 0.5:
                    p, k = divmod(int(outside.argmax()), len(some))
                    i = int(A[p, :, k].argmax())
                    bias = network.B(layer)[i * network.n].item()
                    raise ValueError(
                        f"b[{i}]={bias:.3g} in layer {layer} lets circuit {int(some[k])}, alone, "
                        f"switch on neuron {i} of position {p}, which is not its own; "
                        f"b[{i}] must be at most {bias - outside[p, k].item():.3g}"
                    )
