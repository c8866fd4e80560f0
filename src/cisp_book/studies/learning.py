"""Networks trained on what the hand-coded one computes, and what became of its code."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

import cisp

Model = Callable[[Tensor], Tensor]  # A^0 (batch, D) -> A^0..A^L (layers, batch, D)
ON = 1e-4  # a neuron above this counts as on, as in `cisp.measure`


class Task(NamedTuple):
    """Inputs, the vectors that should be read after every layer, and which circuits are active."""

    A0: Float[Tensor, "batch D"]
    x: Float[Tensor, "L batch T 2"]
    on: Bool[Tensor, "batch T"]


def hand_coded(seed: int, *, T: int, D: int, S: int, L: int) -> cisp.Network:
    """Rotations in an extrinsic network: any circuit alone is exact, and the bias no larger."""
    circuits = cisp.conditional_rotations(T=T, rng=seed).with_layers(L)
    return cisp.superpose_extrinsic(circuits, D=D, S=S, rng=100 + seed, silence="auto")


def task(network: cisp.Network, batch: int, rng: np.random.Generator) -> Task:
    """Fresh inputs, half with one active circuit and half with two."""
    halves = []
    for z in (1, 2):
        active, a0 = network.sample(batch=batch // 2, z=z, rng=rng)
        a = network.circuits.run(a0, active)[1:]
        x = [network.circuits.quantities(one, active)["rotation"] for one in a]
        every = torch.stack([cisp.among_all(one, active, T=network.T) for one in x])
        A0 = network.embed(a0, active).flatten(1)
        halves.append((A0, every, cisp.is_active(active, T=network.T)))
    (A0, x1, on), (A0_2, x2, on_2) = halves
    return Task(torch.cat([A0, A0_2]), torch.cat([x1, x2], 1), torch.cat([on, on_2]))


def reader(network: cisp.Network) -> Float[Tensor, "L T 2 D"]:
    """The vectors' read-outs as matrices: what each makes of unit vectors."""
    units = torch.eye(network.D).to(network.w)
    maps = [network.readout(units, layer) for layer in range(1, network.L + 1)]
    return torch.einsum("lpti,ki->ltkp", torch.stack(maps), network.circuits.readouts["rotation"])


def losses(
    error: Float[Tensor, "batch T 2"], on: Bool[Tensor, "batch T"]
) -> dict[str, Float[Tensor, ""]]:
    """The mean over inputs of the sum over circuits of |error|^2, of |error|^4, of |error|^2 of
    active circuits alone (4.1).
    """
    squares = error.square().sum(-1)
    return {
        "MSE": squares.sum(1).mean(),
        "L4": squares.square().sum(1).mean(),
        "active": (squares * on).sum(1).mean(),
    }


def start(name: str, network: cisp.Network, seed: int) -> cisp.Network | nn.Sequential:
    """A model to train: the network's own numbers, its dense layers, or as many random ones."""
    if name == "own":
        return network.trainable()
    dense = network.to_dense(activations=True)
    if name != "dense":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for k in range(0, 2 * network.L, 2):
                linear(dense, k).reset_parameters()
    return dense


def run(model: nn.Module, A0: Float[Tensor, "batch D"]) -> Float[Tensor, "layers batch D"]:
    """The activations A^0..A^L of either kind of model."""
    if isinstance(model, cisp.Network):
        found: Tensor = model(A0.unflatten(1, (model.d, model.n))).flatten(2)
        return found
    every: Tensor = model(A0)
    return every


def linear(dense: nn.Sequential, k: int) -> nn.Linear:
    """Module k of the dense layers, which is a Linear one: 2 l - 2 for layer l."""
    found = dense[k]
    assert isinstance(found, nn.Linear)
    return found


def train(
    model: nn.Module,
    network: cisp.Network,
    *,
    loss: str,
    lr: float,
    steps: int,
    batch: int = 256,
    every_layer: bool = False,
    rng: int = 0,
) -> Iterator[int]:
    """Adam on fresh inputs, its rate falling to 0 in a line; gives how many steps are done.

    every_layer: the loss of the read-outs after each layer, in place of the last.
    """
    draw, read = np.random.default_rng(rng), reader(network)
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
    for step in range(steps):
        yield step
        A0, x, on = task(network, batch, draw)
        A = run(model, A0)
        layers = range(network.L) if every_layer else [network.L - 1]
        each = [
            losses(torch.einsum("tkp,bp->btk", read[k], A[k + 1]) - x[k], on)[loss] for k in layers
        ]
        adam.zero_grad()
        sum(each[1:], each[0]).backward()
        adam.step()
        falling.step()
    yield steps


def as_dense(model: nn.Module, network: cisp.Network) -> nn.Sequential:
    """The dense layers of either kind of model, detached."""
    dense = network.to_dense(activations=True)
    other = model.to_dense() if isinstance(model, cisp.Network) else model
    dense.load_state_dict(other.state_dict())
    return dense.requires_grad_(False)


def own_code(dense: nn.Sequential, network: cisp.Network) -> dict[str, float]:
    """What is left of the circuits' own parts C_t in the weights W of layers 2..L.

    Both on the entries where C_t is not 0, means over circuits and layers: the cosine of W and C_t,
    and the strength <W, C_t> / <C_t, C_t>: 1 in the hand-coded network, where no two circuits have
    an entry in common.
    """
    cosines, strengths = [], []
    for layer in range(2, network.L + 1):
        W, parts = linear(dense, 2 * layer - 2).weight, cisp.Testbed(network, z=1).components(layer)
        here = W[parts.rows.unsqueeze(2), parts.columns.unsqueeze(1)] * (parts.blocks != 0)
        inner, size = (here * parts.blocks).sum((1, 2)), parts.blocks.square().sum((1, 2))
        cosines.append(inner / (here.square().sum((1, 2)) * size).sqrt())
        strengths.append(inner / size)
    means = torch.stack(cosines).mean(), torch.stack(strengths).mean()
    return {"cosine": float(means[0]), "strength": float(means[1])}


def zeroed(dense: nn.Sequential, network: cisp.Network, t: int) -> nn.Sequential:
    """The dense layers with 0 in the place of circuit t's own part, in layers 2..L."""
    changed = network.to_dense(activations=True).requires_grad_(False)
    changed.load_state_dict(dense.state_dict())
    for layer in range(2, network.L + 1):
        linear(changed, 2 * layer - 2).weight[network.component(layer, t) != 0] = 0
    return changed


def alone(network: cisp.Network, times: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every circuit alone: A^0, the last layer's vectors, and which circuit it is."""
    active = torch.arange(network.T).repeat(times).unsqueeze(1)
    a0 = network.circuits.sample_inputs(batch=len(active), z=1, rng=5)
    x = network.circuits.quantities(network.circuits.run(a0, active)[-1])["rotation"][:, 0]
    return network.embed(a0, active).flatten(1), x, active[:, 0]


def damage(dense: nn.Sequential, network: cisp.Network) -> dict[str, float]:
    """By how much the squared error of a circuit alone grows where own parts are zeroed.

    Its own ("itself"), or another's ("others"); means over circuits.
    """
    A0, x, which = alone(network, 4)
    read = reader(network)[-1][which]

    def squares(model: nn.Sequential) -> Float[Tensor, " T"]:
        found = torch.einsum("bkp,bp->bk", read, model(A0)[-1])
        return (found - x).square().sum(1).view(4, -1).mean(0)

    before = squares(dense)
    grown = torch.stack([squares(zeroed(dense, network, t)) - before for t in range(network.T)])
    itself = grown.diagonal()
    others = (grown.sum() - itself.sum()) / (network.T * (network.T - 1))
    return {"itself": float(itself.mean()), "others": float(others)}


def hidden(dense: nn.Sequential, network: cisp.Network) -> dict[str, float]:
    """The code in the layer before the last, of circuits alone and as a linear probe finds it.

    neurons: how many are on. own positions: the share of the squared activation on the neurons
    that the circuit has by hand. probe: the share of the vectors' variance, over all circuits, that
    the best linear read-out gives on fresh inputs.
    """
    layer = network.L - 1
    A0, _, which = alone(network, 4)
    A = dense(A0)[layer].unflatten(1, (network.d, network.n))
    mine = torch.zeros(network.T, network.n).to(A)
    mine = mine.scatter(1, network.tables[layer - 1], 1.0)[which].unsqueeze(1)
    draw = np.random.default_rng(6)
    (A1, x1, _), (A2, x2, _) = (task(network, 4096, draw) for _ in range(2))
    with_1 = [torch.nn.functional.pad(dense(one)[layer], (0, 1), value=1.0) for one in (A1, A2)]
    x1, x2 = x1[layer - 1].flatten(1), x2[layer - 1].flatten(1)
    found = torch.linalg.lstsq(with_1[0].double(), x1.double(), driver="gelsd").solution
    left = (with_1[1].double() @ found - x2).square().sum() / x2.square().sum()
    return {
        "neurons": float((A > ON).flatten(1).sum(1).double().mean()),
        "own positions": float((A.square() * mine).sum() / A.square().sum()),
        "probe": 1 - float(left),
    }


def measured(dense: nn.Sequential, network: cisp.Network) -> dict[str, float]:
    """Errors of the vectors as `cisp.measure` gives them, in the last layer and the one before."""
    found = {}
    for z in (1, 2):
        errors = cisp.measure(
            network, z=z, samples=None if z == 1 else 500, model=dense, progress=False
        ).errors.query("quantity == 'rotation'")
        for layer, at in ((network.L, "last"), (network.L - 1, "before")):
            for row in errors[errors.layer == layer].itertuples():
                found[f"{row.circuits} z={z} {at}"] = row.mse
    return found


def judged(dense: nn.Sequential, network: cisp.Network) -> dict[str, float]:
    """All of it, and the losses on fresh inputs."""
    A0, x, on = task(network, 4096, np.random.default_rng(7))
    error = torch.einsum("tkp,bp->btk", reader(network)[-1], dense(A0)[-1]) - x[-1]
    lost = {name: float(value) for name, value in losses(error, on).items()}
    views = (own_code, damage, hidden, measured)
    return lost | {k: v for view in views for k, v in view(dense, network).items()}
