"""A hundred little networks, each trained on a surface of its own, all at once."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = [2, 8, 8, 1]


def surfaces(x: Float[Tensor, "points 2"], *, T: int, rng: int = 0) -> Float[Tensor, "T points"]:
    """T smooth functions of the plane: each the mean of two waves of its own."""
    draw = np.random.default_rng(rng)
    wave = torch.from_numpy(draw.normal(0, 2, (T, 2, 2))).to(x)
    phase = torch.from_numpy(draw.uniform(0, 2 * np.pi, (T, 2, 1))).to(x)
    return torch.sin(wave @ x.T + phase).mean(1)


def grid(side: int) -> Float[Tensor, "points 2"]:
    """The points of a square grid on [-1, 1]^2."""
    line = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(line, line)


def trained(*, T: int, steps: int = 400, rng: int = 0) -> list[nn.Sequential]:
    """T networks 2 -> 8 -> 8 -> 1 of Linear and ReLU, network t trained on surface t.

    Full batches of 13 x 13 points, Adam; in float64 the weights differ between machines by rounding
    only.
    """
    x = grid(13)
    y = surfaces(x, T=T, rng=rng).unsqueeze(2)
    draw = np.random.default_rng(rng + 1)
    parameters = []
    for into, out in pairwise(WIDTHS):
        for rows, reach in ((into, (3 / into) ** 0.5), (1, 0.5)):
            start = torch.from_numpy(draw.uniform(-reach, reach, (T, rows, out))).to(x)
            parameters.append(start.requires_grad_())
    _descend(parameters, x.expand(T, -1, -1), y, steps)
    return [_module([p[t].detach() for p in parameters]) for t in range(T)]


def _descend(parameters: list[Tensor], x: Tensor, y: Tensor, steps: int) -> None:
    adam, threads = torch.optim.Adam(parameters, lr=0.03), torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are too small to be shared out
    for _ in range(steps):
        loss = (_run(parameters, x) - y).square().mean((1, 2)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    torch.set_num_threads(threads)


def _run(parameters: list[Tensor], a: Float[Tensor, "T points _"]) -> Float[Tensor, "T points 1"]:
    last = len(parameters) - 2
    for k in range(0, last + 1, 2):
        a = torch.baddbmm(parameters[k + 1], a, parameters[k])
        a = a.relu() if k < last else a
    return a


def _module(parameters: list[Tensor]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        linear = nn.Linear(*w.shape)
        linear.weight, linear.bias = nn.Parameter(w.T.contiguous()), nn.Parameter(b[0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
