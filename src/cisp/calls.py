"""Circuits that call each other in the network that is exact for two (beyond the post)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cisp.arguments import count, instance
from cisp.arguments import told as shown
from cisp.channels import Channels
from cisp.inputs import unit
from cisp.network import Network
from cisp.shapes import check_tensor


def with_calls(
    network: Network,
    calls: Int[Tensor, "calls 2"],
    *,
    layer: int,
    start: Float[Tensor, " state"],
) -> nn.Sequential:
    """The network as plain layers in which some circuits switch others on, A^0 -> A^L, (batch, D).

    Equation C18.6. calls: pairs (v, u) of a caller and the circuit that it calls. start: the state
    (d' neurons) in which u begins, in layer `layer` + 1.

    A position of u hears all S positions of each circuit v that calls one of its circuits. With C
    the number of active circuits there, two more neurons in layer `layer` hold ReLU(C - S + 1) and
    ReLU(C - S); their difference c is 1 if v is on, and added to the count in the next layer:

        k <- k + c,   h_1 <- ReLU(... + start c),   h_2 <- ReLU(... + (M + start) c)

    Exact for one active circuit that calls one other, but where S or more called circuits of a
    position have callers that v meets: it then comes on though none of them is called.

    network: one of `superpose_exact` for z = 2. Raises ValueError for another, for circuits that it
    does not have, a layer that is not between the first and the last, or a start above M / 2.

    >>> import cisp
    >>> network = cisp.superpose_exact(cisp.conditional_rotations(T=4), D=60, z=2, L=3)
    >>> model = with_calls(network, torch.tensor([[0, 1]]), layer=2, start=torch.ones(2))
    >>> a0 = network.circuits.sample_inputs(batch=1, z=1)
    >>> A = model(network.embed(a0, torch.tensor([[0]])).flatten(1))  # circuit 0 alone is on
    >>> cisp.estimates(network, A, layer=3)["indicator"].flatten().round().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    instance("network", network, Network)
    n, d, S = network.n, network.d, network.S
    if not isinstance(network.wiring, Channels) or S != 3:
        raise ValueError(
            f"network has the wiring {type(network.wiring).__name__} with S={S}; it must be one of "
            "superpose_exact for z=2"
        )
    count("layer", layer, low=2, high=network.L - 1)
    check_tensor("calls", calls, None, torch.int64)
    if calls.ndim != 2 or calls.shape[1] != 2:
        raise ValueError(f"calls has shape {tuple(calls.shape)}; it must be (calls, 2)")
    for t in calls.flatten().tolist():
        count("calls", t, low=0, high=network.T - 1)
    state, M = (d - 1) // 2, float(network.wiring.counts[layer, 0, -1])
    check_tensor("start", start, (state,), network.w.dtype, of="the network's ")
    if not 0 <= float(start.min()) <= float(start.max()) <= M / 2:
        raise ValueError(
            f"start={shown(start.tolist())}; it must be {state} values in 0..{M / 2:.4g}"
        )
    callers, called = (
        nn.functional.one_hot(network.tables[0][calls[:, side]], n).sum(1).to(start)
        for side in (0, 1)
    )
    dense = network.to_dense()
    heard = start.new_zeros(n, d, n)
    heard[:, 0] = called.T @ callers
    told = torch.cat([start.new_ones(1), start, start + M])
    more, step = heard.flatten(1), torch.kron(told.unsqueeze(1), unit(n, start))
    limit = start.new_full((n,), 1.0 - S)
    W, B = network.W, network.B
    dense[2 * layer - 2] = _linear(
        torch.cat([W(layer), more, more]), torch.cat([B(layer), limit, limit - 1])
    )
    dense[2 * layer] = _linear(torch.cat([W(layer + 1), step, -step], 1), B(layer + 1))
    return dense.requires_grad_(False)


def _linear(weight: Float[Tensor, "out into"], bias: Float[Tensor, " out"]) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], len(weight), device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear
