"""Where an active circuit's error comes from: 6.17-6.20 exactly, on a network as it runs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.arguments import count, instance
from cisp.channels import Channels
from cisp.network import Network
from cisp.readout import check_run, of_active


def error_budget(
    network: Network,
    A: Float[Tensor, "layers batch d n"],
    a: Float[Tensor, "layers batch z d"],
    active: Int[Tensor, "batch z"],
    layer: int,
) -> dict[str, Float[Tensor, "batch z d"]]:
    """The parts of delta a_t^l of each active circuit t; they add up to "total" exactly.

    Section 6.2. A is the network's forward pass, a the oracle's. With R_t the read-out
    <e_t|.>/S of layer l or l-1, and v the active circuits:

        self             R_t W |e_t> a_t - w_t a_t                                         (6.18)
        others_w_mean,   R_t W |e_v> a_v - R_t |e_v> w_t a_v, summed over v != t, the parts
        others_delta_w   of it with w-bar and with Delta w                            (6.28-6.30)
        previous         w_t delta a_t^{l-1}                                               (6.20)

    What the post drops on the way to these four:

        off_neurons      R_t W |A> from positions of no active circuit          (6.11, inactive u)
        on_neurons       R_t W |E> - w_t R_t |E>, |E> the error on the other positions: beyond
                         what t itself carries on in `previous`                   (6.12, active u)
        clipping         what the network's ReLUs add to neurons of t, beyond what the circuit's
                         own ReLUs add                                                     (6.14)

    Raises ValueError in layer 1, where the only error is the overlap.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> active, a0 = network.sample(batch=4, z=1, rng=0)
    >>> A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    >>> list(error_budget(network, A, a, active, 2))[:4]
    ['self', 'others_w_mean', 'others_delta_w', 'previous']
    """
    instance("network", network, Network)
    count("layer", layer, low=2, high=network.L)
    check_run(network, A, a, active, layer)
    if A.ndim != 4:
        raise ValueError(f"A has shape {tuple(A.shape)}; it must have all layers of a run")
    if isinstance(network.wiring, Channels):
        raise ValueError(
            "network has read-outs that are not linear; their errors have no such parts"
        )
    W, shared = network.W(layer), network.shared(layer)
    w = network.circuits.at(layer)[0][active]
    w_mean = network.w_mean if network.w_mean.ndim == 2 else network.w_mean[layer - 1]

    def read(A: Tensor, layer: int) -> Tensor:
        return of_active(network.readout(A, layer), active)

    def times(M: Tensor, A: Tensor) -> Tensor:
        return (A.flatten(1) @ M.T).view_as(A)

    def own(a: Tensor) -> Tensor:  # w_t applied to a vector of each active circuit t
        return torch.einsum("bzij,bzj->bzi", w, a)

    before, on = A[layer - 1], torch.zeros_like(A[0, :, :1])
    total = read(A[layer], layer) - a[layer]
    parts = {k: torch.zeros_like(total) for k in ("self", "others_w_mean", "others_delta_w")}
    for k in range(active.shape[1]):  # what active circuit v number k sends to each of them
        positions = network.tables[layer - 2][active[:, k]].unsqueeze(1)
        places = torch.zeros_like(on).scatter(2, positions, 1.0)
        sent = a[layer - 1][:, k].unsqueeze(-1) * places  # |e_v> a_v
        on += places
        direct = read(sent, layer - 1)
        by_mean = read(times(shared, sent), layer) - direct @ w_mean.T
        by_delta = read(times(W, sent), layer) - own(direct) - by_mean
        itself = (torch.arange(active.shape[1], device=active.device) == k).view(1, -1, 1)
        parts["self"] += itself * (by_mean + by_delta)
        parts["others_w_mean"] += ~itself * by_mean
        parts["others_delta_w"] += ~itself * by_delta
    parts["previous"] = own(read(before, layer - 1) - a[layer - 1])
    parts["off_neurons"] = read(times(W, before * (on == 0)), layer)
    sent = read(times(W, before), layer) - own(a[layer - 1])
    parts["on_neurons"] = sent - sum(parts.values())
    parts["clipping"] = total - sent
    return {**parts, "total": total}
