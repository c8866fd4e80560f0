"""The states that circuits can be in, one by one, and what weights can make of them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cisp.circuits import SmallCircuits

TRIED = 2**15  # inputs tried where ReLUs cut, or one for each circuit if there are more
FLAT = 1e-20  # of the squared size of the states, how thin their ball is at least

States = list[Float[Tensor, "T d columns"]]


def precise(circuits: SmallCircuits) -> SmallCircuits:
    """The circuits in float64, and on the CPU, as not every device has that."""
    return circuits.to("cpu").to(torch.float64)


def affine_states(circuits: SmallCircuits) -> States | None:
    """a_v^1..a_v^{L-1} of every circuit v as a mean, and columns to be added times any unit vector.

    In float64, for circuits of which, within the law of their inputs, no ReLU cuts a neuron: each
    is on for all inputs, or off for all. Else None, as for circuits with inputs of their own.
    """
    if circuits.inputs is not None:
        return None
    slack = 32 * circuits.L * torch.finfo(circuits.w.dtype).eps  # of the circuits' own rounding
    circuits = precise(circuits)
    X = torch.cat([circuits.input_mean.unsqueeze(1), circuits.input_map], 1)
    X = X.expand(circuits.T, -1, -1)
    states: States = []
    for layer in range(1, circuits.L):
        w, b = circuits.at(layer)
        X = w @ X
        X[..., 0] += b
        reach = X[..., 1:].norm(dim=-1)
        on, off = X[..., 0] >= reach * (1 - slack) - slack, X[..., 0] <= -reach
        if not bool((on | off).all()):
            return None
        X = X * on.unsqueeze(-1)
        states.append(X)
    return states


def drawn_states(circuits: SmallCircuits, rng: np.random.Generator) -> States:
    """a_v^1..a_v^{L-1} of every circuit v for some inputs, in float64; for all, if samples."""
    circuits = precise(circuits)
    samples = circuits.inputs
    each = samples.shape[-2] if isinstance(samples, Tensor) else -(-TRIED // circuits.T)
    active = torch.arange(circuits.T, device="cpu").repeat(each).unsqueeze(1)
    if isinstance(samples, Tensor):
        a0 = samples.expand(circuits.T, each, circuits.d).transpose(0, 1).flatten(0, 1)
        a0 = a0.unsqueeze(1)
    else:
        a0 = circuits.sample_inputs(batch=len(active), z=1, rng=rng, active=active)
    a = circuits.run(a0, active)[1:-1]
    return list(a.view(-1, each, circuits.T, circuits.d).permute(0, 2, 3, 1))


def boxes(circuits: SmallCircuits) -> States:
    """The least and the largest that each neuron of a_v^1..a_v^{L-1} can be, at most, in float64.

    In layer 1 they are reached; from then on each neuron's bounds are taken by themselves.

    Raises ValueError for circuits whose inputs a function draws, as no bound is known of it.
    """
    circuits = precise(circuits)
    if callable(circuits.inputs):
        raise ValueError("inputs is a function, of which no bound is known; give samples, or M")
    found: States = []
    for layer in range(1, circuits.L):
        w, b = circuits.at(layer)
        if layer == 1 and isinstance(circuits.inputs, Tensor):
            first = w @ circuits.inputs.mT
            low, high = first.amin(-1), first.amax(-1)
        elif layer == 1:
            middle, reach = w @ circuits.input_mean, (w @ circuits.input_map).norm(dim=-1)
            low, high = middle - reach, middle + reach
        else:
            up, down = w.clamp(min=0), w.clamp(max=0)
            before = found[-1]
            low = (up @ before[..., :1] + down @ before[..., 1:]).squeeze(-1)
            high = (up @ before[..., 1:] + down @ before[..., :1]).squeeze(-1)
        found.append(torch.relu(torch.stack([low + b, high + b], -1)))
    return found


def worst(X: Float[Tensor, "k d columns"], affine: bool) -> Float[Tensor, "k d"]:
    """The largest value that the states give."""
    return X[..., 0] + X[..., 1:].norm(dim=-1) if affine else X.amax(-1)


def ball(X: Float[Tensor, "T d columns"], affine: bool) -> tuple[Tensor, Float[Tensor, "d d"]]:
    """A centre c (d,) and axes E with every state of every circuit in c + E u, |u| <= 1."""
    points = X[..., :1] if affine else X
    centre = points.mean((0, 2))
    off = points - centre.unsqueeze(1)
    spread = torch.cat([off, X[..., 1:]], 2) if affine else off
    sizes, axes = torch.linalg.eigh(torch.einsum("tik,tjk->ij", spread, spread) / len(X))
    sizes = sizes.clamp(min=float(sizes[-1]) * FLAT + torch.finfo(sizes.dtype).tiny).sqrt()
    inner = (axes / sizes).T @ spread
    radius = inner[..., : points.shape[2]].norm(dim=1).amax(1)
    if affine:  # the norm of a matrix is at most the root of the largest row sum of its square
        turned = inner[..., 1:]
        radius = radius + (turned.mT @ turned).abs().sum(-1).amax(-1).sqrt()
    return centre, axes * sizes * radius.max()


def bound(
    w: Float[Tensor, "t k d"], X: Float[Tensor, "T d columns"], affine: bool
) -> Float[Tensor, "t k"]:
    """A bound on w_t a_v over all circuits v, whichever circuit t: by the box of their states."""
    means = X[..., :1] if affine else X
    middle, reach = _box(means.transpose(0, 1).flatten(1).T)
    most = w @ middle + w.abs() @ reach
    if affine:
        squares = (X[..., 1:] @ X[..., 1:].mT).flatten(1)
        middle, reach = (side.view(X.shape[1], -1) for side in _box(squares))
        square = (w @ middle * w + w.abs() @ reach * w.abs()).sum(-1)
        most = most + square.clamp(min=0).sqrt()
    return most


def _box(points: Float[Tensor, "k d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    low, high = points.amin(0), points.amax(0)
    return (low + high) / 2, (high - low) / 2
