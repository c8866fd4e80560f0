"""Each circuit's quantities read from network activations, and their errors (section 5.5)."""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from cisp.arguments import count, instance, room
from cisp.network import Network
from cisp.shapes import check_active, check_tensor


def of_active(
    values: Shaped[Tensor, "batch T *rest"], active: Int[Tensor, "batch z"]
) -> Shaped[Tensor, "batch z *rest"]:
    """The entries of the active circuits of each input, in the order of `active`.

    >>> of_active(torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), torch.tensor([[2], [0]]))
    tensor([[0.3000],
            [0.4000]])
    """
    check_tensor("values", values, None, None)
    T = values.shape[1] if values.ndim > 1 else 0
    check_active(active, T=count("T of values", T), batch=len(values))
    return values[_inputs(active), active]


def among_all(
    values: Shaped[Tensor, "batch z *rest"], active: Int[Tensor, "batch z"], *, T: int
) -> Shaped[Tensor, "batch T *rest"]:
    """The values of the active circuits at their places among all T; 0 for the inactive.

    The truth, where the values are the oracle's (assumption 3).

    >>> among_all(torch.tensor([[0.5], [0.7]]), torch.tensor([[2], [0]]), T=3)
    tensor([[0.0000, 0.0000, 0.5000],
            [0.7000, 0.0000, 0.0000]])
    """
    check_active(active, T=count("T", T))
    check_tensor("values", values, None, None)
    if values.shape[:2] != active.shape:
        raise ValueError(
            f"values has shape {tuple(values.shape)}; it must be {(*active.shape, '...')}"
        )
    room("T", T, T * values[:, 0].numel())
    zero = values.new_zeros(len(active), T, *values.shape[2:])
    return zero.index_put((_inputs(active), active), values)


def is_active(active: Int[Tensor, "batch z"], *, T: int) -> Bool[Tensor, "batch T"]:
    """Which of the T circuits are active in each input.

    >>> is_active(torch.tensor([[2], [0]]), T=3)
    tensor([[False, False,  True],
            [ True, False, False]])
    """
    check_active(active, T=count("T", T))
    return among_all(torch.ones_like(active, dtype=torch.bool), active, T=T)


def estimates(
    network: Network,
    A: Float[Tensor, "*layers batch d n"] | Float[Tensor, "*layers batch D"],
    layer: int,
) -> dict[str, Tensor]:
    """The estimate (batch, T, k) of each named quantity for all T circuits (5.31, 5.32).

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> active, a0 = network.sample(batch=4, z=1, rng=0)
    >>> A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    >>> {name: tuple(x.shape) for name, x in estimates(network, A, layer=2).items()}
    {'indicator': (4, 6, 1), 'rotation': (4, 6, 2)}
    """
    instance("network", network, Network)
    return network.circuits.quantities(network.readout(A, layer))


def errors(
    network: Network,
    A: Float[Tensor, "*layers batch d n"] | Float[Tensor, "*layers batch D"],
    a: Float[Tensor, "layers batch z d"],
    active: Int[Tensor, "batch z"],
    layer: int,
) -> dict[str, Tensor]:
    """Estimate minus truth (batch, T, k) of "activations" and each named quantity (5.33-5.35).

    `a` is what the oracle gives for the active circuits; the truth of an inactive circuit is 0
    (assumption 3).

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> active, a0 = network.sample(batch=4, z=1, rng=0)
    >>> A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    >>> errors(network, A, a, active, layer=1)["rotation"].abs().max().item() < 1e-6
    True
    """
    check_run(network, A, a, active, layer)
    delta = network.readout(A, layer) - among_all(a[layer], active, T=network.T)
    return {"activations": delta, **network.circuits.quantities(delta)}


def mse_active(
    network: Network,
    A: Float[Tensor, "layers batch d n"] | Float[Tensor, "layers batch D"],
    a: Float[Tensor, "layers batch z d"],
    active: Int[Tensor, "batch z"],
) -> dict[str, Float[Tensor, " L"]]:
    """Mean squared errors of the active circuits in layers 1..L, by quantity as in `errors`.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> active, a0 = network.sample(batch=4, z=1, rng=0)
    >>> A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    >>> sorted(mse_active(network, A, a, active))
    ['activations', 'indicator', 'rotation']
    """
    check_run(network, A, a, active, network.L if isinstance(network, Network) else 1)
    found = []
    for layer in range(1, network.L + 1):
        delta = of_active(network.readout(A, layer), active) - a[layer]
        found.append({"activations": delta, **network.circuits.quantities(delta, active)})
    return {
        name: torch.stack([delta[name].square().sum(-1).mean() for delta in found])
        for name in found[0]
    }


def check_run(network: Network, A: Tensor, a: Tensor, active: Tensor, layer: int) -> None:
    """Raise ValueError unless A and a are of one run of the network and its oracle on `active`.

    >>> import cisp
    >>> network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=2, L=2)
    >>> active, a0 = network.sample(batch=4, z=1)
    >>> A, a = network(network.embed(a0, active)), network.circuits.run(a0, active)
    >>> check_run(network, A, a, active, layer=2)  # nothing is raised: they belong together
    """
    instance("network", network, Network)
    check_active(active, T=network.T)
    count("layer", layer, high=network.L)
    check_tensor("a", a, ("layers", *active.shape, network.d), network.w.dtype)
    if len(a) <= layer:
        raise ValueError(f"a has {len(a)} layers; it must have {network.L + 1}, 0 to {network.L}")
    check_tensor("A", A, None, network.w.dtype, of="the network's ")
    run = (network.L + 1, len(active), network.d, network.n)
    if network.blocks(A).shape not in (run, run[1:]):
        raise ValueError(
            f"A has shape {tuple(A.shape)}; it must be {run}, or {run[1:]} of one layer"
        )


def _inputs(active: Int[Tensor, "batch z"]) -> Int[Tensor, "batch 1"]:
    return torch.arange(len(active), device=active.device).unsqueeze(1)
