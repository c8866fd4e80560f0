"""A network run as dense layers, with weights of one's own where wanted (5.17)."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from cisp.arguments import count, function, instance
from cisp.network import Network
from cisp.shapes import check_tensor


def run_dense(
    network: Network,
    A0: Float[Tensor, "batch d n"],
    W: Mapping[int, Float[Tensor, "D D"]] | None = None,
    *,
    activate: Callable[[Tensor], Tensor] = torch.relu,
) -> Float[Tensor, "layers batch d n"]:
    """Activations A^0..A^L of the network's layers A^l = ReLU(W^l A^{l-1} + B^l), one by one.

    Equation 5.17. W: for any of the layers 1..L the weights that take the place of the network's
    own. activate: what takes the place of the ReLU, on (batch, d, n) before activation.

    Without either this is `network(A0)`, at the cost of D x D products.

    Raises ValueError for weights of a layer that the network does not have, or of another shape.

    >>> from cisp import step_indicators, superpose
    >>> network = superpose(step_indicators(T=2), D=8, S=2, L=2)
    >>> network.W(2).shape, run_dense(network, torch.ones(1, 2, 4)).shape
    (torch.Size([8, 8]), torch.Size([3, 1, 2, 4]))
    """
    instance("network", network, Network)
    function("activate", activate)
    kind = network.w.dtype
    check_tensor("A0", A0, ("batch", network.d, network.n), kind, of="the network's ")
    if W is not None:
        instance("W", W, Mapping)
    given = dict(W or {})
    for layer, weights in given.items():
        count("layer", layer, high=network.L)
        check_tensor(f"W[{layer}]", weights, (network.D, network.D), kind, of="the network's ")
    A = [A0]
    for layer in range(1, network.L + 1):
        weights = given[layer] if layer in given else network.W(layer)
        A.append(activate((A[-1].flatten(1) @ weights.T + network.B(layer)).view_as(A0)))
        check_tensor("activate(A)", A[-1], A0.shape, kind, of="the network's ")
    return torch.stack(A)
