"""Moves of activations on a small sphere, and what they change; of any function of activations."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cisp.arguments import count, function, generator, number, positive

Run = Callable[[Tensor], Tensor]  # activations (batch, D) -> outputs (batch, ...)


def isotropic(batch: int, D: int, *, rng: int = 0) -> Float[Tensor, "batch D"]:
    """Directions drawn uniformly from the sphere.

    >>> isotropic(3, 5).norm(dim=1).round(decimals=3).tolist()
    [1.0, 1.0, 1.0]
    """
    shape = count("batch", batch), count("D", D)
    return normalize(torch.from_numpy(generator(rng).normal(size=shape)).float(), dim=1)


def matched(X: Float[Tensor, "samples D"], batch: int, *, rng: int = 0) -> Float[Tensor, "batch D"]:
    """Directions of normal vectors with the covariance of the samples.

    >>> X = torch.tensor([[1.0, 2, 0], [-1, 2, 0]])  # they differ along the first axis
    >>> matched(X, 2).abs().tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    mix = generator(rng).normal(size=(count("batch", batch), len(X)))
    return normalize(torch.from_numpy(mix).to(X) @ (X - X.mean(0)), dim=1)


def within(columns: Float[Tensor, "batch D r"], *, rng: int = 0) -> Float[Tensor, "batch D"]:
    """Directions drawn uniformly from a subspace of each input, the span of orthonormal columns.

    >>> columns = torch.eye(4)[:, :2].expand(3, 4, 2)  # the first two axes
    >>> within(columns)[:, 2:].any().item()
    False
    """
    mix = torch.from_numpy(generator(rng).normal(size=columns.shape[::2])).to(columns)
    return normalize(torch.einsum("bDr,br->bD", columns, mix), dim=1)


def great_circle(
    u: Float[Tensor, "batch D"], v: Float[Tensor, "batch D"], angle: float | int
) -> Float[Tensor, "batch D"]:
    """Directions at an angle (radians) from u, on the great circle through v.

    >>> great_circle(torch.tensor([[1.0, 0]]), torch.tensor([[1.0, 1]]), torch.pi / 6)
    tensor([[0.8660, 0.5000]])
    """
    u = normalize(u, dim=1)
    across = normalize(v - (u * v).sum(1, keepdim=True) * u, dim=1)
    turn = torch.tensor(number("angle", angle))
    return u * turn.cos() + across * turn.sin()


def response(
    run: Run, A: Float[Tensor, "batch D"], direction: Float[Tensor, "batch D"], radius: float | int
) -> Float[Tensor, " batch"]:
    """The squared length of run(A + radius u) - run(A), u the direction at length 1 (C24.6).

    >>> A, direction = torch.zeros(1, 2), torch.tensor([[0.0, 1]])
    >>> response(lambda A: 3 * A, A, direction, radius=0.5).tolist()
    [2.25]
    """
    function("run", run)
    moved = A + positive("radius", radius) * normalize(direction, dim=1)
    return (run(moved) - run(A)).flatten(1).square().sum(1)


def steepest(
    run: Run,
    A: Float[Tensor, "batch D"],
    radius: float | int,
    *,
    start: Float[Tensor, "batch D"],
    steps: int = 100,
    rate: float | int = 0.2,
) -> Float[Tensor, "batch D"]:
    """Where on the sphere the response is largest, by ascent from the directions `start`.

    Each step adds `rate` of the gradient's direction along the sphere, and returns to it.

    >>> run, A = lambda A: A * torch.tensor([1.0, 4]), torch.zeros(1, 2)
    >>> steepest(run, A, 0.1, start=torch.ones(1, 2)).round(decimals=1).abs().tolist()
    [[0.0, 1.0]]
    """
    u = normalize(start, dim=1)
    for _ in range(count("steps", steps)):
        u = u.detach().requires_grad_()
        (slope,) = torch.autograd.grad(response(run, A, u, radius).sum(), u)
        u = normalize(u.detach() + positive("rate", rate) * normalize(slope, dim=1), dim=1)
    return u
