"""Each circuit's quantities read from network activations, and their errors (section 5.5)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.network import Network


def estimates(
    network: Network, A: Float[Tensor, "*layers batch d n"], layer: int
) -> dict[str, Tensor]:
    """The estimate (batch, T, k) of each named quantity for all T circuits (5.31, 5.32)."""
    return network.circuits.quantities(network.readout(A, layer))


def errors(
    network: Network,
    A: Float[Tensor, "*layers batch d n"],
    a: Float[Tensor, "layers batch z d"],
    active: Int[Tensor, "batch z"],
    layer: int,
) -> dict[str, Tensor]:
    """Estimate minus truth (batch, T, k) of "activations" and each named quantity (5.33-5.35).

    `a` is what the oracle gives for the active circuits; the truth of an inactive circuit is 0
    (assumption 3).
    """
    delta = network.readout(A, layer)
    rows = torch.arange(len(active), device=active.device).unsqueeze(1)
    delta = delta.index_put((rows, active), -a[layer], accumulate=True)
    return {"activations": delta, **network.circuits.quantities(delta)}
