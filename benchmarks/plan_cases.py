"""Twenty cases on which `cisp.plan` is judged, written down before any of them was run.

Families that are not rotations: random networks, logic gates, |x - c|, x y, trained networks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import cisp

Parts = tuple[list[Tensor], list[Tensor]]


class Case(NamedTuple):
    """Circuits, and one network of theirs."""

    make: Callable[..., cisp.SmallCircuits]
    given: dict[str, Any]
    D: int
    z: int
    embedding: str
    allocation: str
    S: int


def random_nets(
    *, T: int, m: int, L: int, bias: float = 1.0, load: float | None = None, seed: int = 0
) -> cisp.SmallCircuits:
    """Random ReLU networks: weights of variance 2/m, biases of 0.3; what is read is their state."""
    rng = torch.Generator().manual_seed(seed)
    w = torch.randn(L, T, m, m, generator=rng) * (2 / m) ** 0.5
    b = 0.3 * torch.randn(L, T, m, generator=rng)
    return cisp.gated(w, b, bias=bias, load=load)


def gates(*, T: int, L: int = 2, load: float | None = None, seed: int = 0) -> cisp.SmallCircuits:
    """Two bits through a random gate of the 16 (L = 2), then a third through another (L = 4)."""
    rng = torch.Generator().manual_seed(seed)
    w, b = _gate(torch.randint(2, (T, 4), generator=rng).float(), carried=L == 4)
    if L == 4:
        more = _gate(torch.randint(2, (T, 4), generator=rng).float(), carried=False)
        w, b = w + more[0], b + more[1]
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * (3 if L == 4 else 2))
    outputs = torch.ones(T, 1, 1), torch.zeros(T, 1)
    return cisp.gated(w, b, inputs=bits, outputs=outputs, load=load and bits.shape[1] ** 0.5)


def distances(
    *, T: int, bias: float = 1.0, load: float | None = None, seed: int = 0
) -> cisp.SmallCircuits:
    """|x - c| and then | |x - c| - e |, with c and e of each circuit's own; three layers."""
    rng = torch.Generator().manual_seed(seed)
    c, e = torch.rand(T, generator=rng) - 0.5, torch.rand(T, generator=rng)
    first = torch.tensor([[1.0], [-1.0]]).expand(T, 2, 1), torch.stack([-c, c], 1)
    both = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).expand(T, 2, 2)
    second = both, torch.stack([-e, e], 1)
    last = torch.ones(T, 1, 2), torch.zeros(T, 1)
    outputs = torch.ones(T, 1, 1), torch.zeros(T, 1)
    w, b = zip(first, second, last, strict=True)
    x = torch.linspace(-1, 1, 201).unsqueeze(1)
    return cisp.gated(list(w), list(b), bias=bias, inputs=x, outputs=outputs, load=load)


def products(*, T: int, load: float | None = None, seed: int = 0) -> cisp.SmallCircuits:
    """x y on a square from eight kinks of each circuit's own, fitted, then carried; two layers."""
    rng = torch.Generator().manual_seed(seed)
    signs = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]]).repeat(2, 1)
    w, b = signs.expand(T, 8, 2), -1.4 * torch.rand(T, 8, generator=rng)
    x = 2 * torch.rand(400, 2, generator=rng) - 1
    h = torch.relu(x @ w.mT + b.unsqueeze(1))
    h = torch.cat([h, torch.ones(T, 400, 1)], 2)
    ridge = h.mT @ h + 0.4 * torch.eye(9)
    v = torch.linalg.solve(ridge, h.mT @ x.prod(1, keepdim=True).expand(T, 400, 1)).squeeze(2)
    carry = v[:, None, :8], v[:, 8:] + 1
    outputs = torch.ones(T, 1, 1), -torch.ones(T, 1)
    return cisp.gated([w, carry[0]], [b, carry[1]], inputs=x, outputs=outputs, load=load)


def trained(*, T: int, load: float | None = None, seed: int = 0) -> cisp.SmallCircuits:
    """Networks 1 -> 8 -> 8 -> 1, each trained on a sine of its own."""
    rng = torch.Generator().manual_seed(seed)
    shapes = [(T, 8, 1), (T, 8), (T, 8, 8), (T, 8), (T, 1, 8), (T, 1)]
    scales = [1.5, 0.7, 0.5, 0.1, 0.35, 0.0]
    p = [s * torch.randn(k, generator=rng) for k, s in zip(shapes, scales, strict=True)]
    p = [each.requires_grad_() for each in p]
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    turn, phase = 2 + 3 * torch.rand(T, 1, 1, generator=rng), 6 * torch.rand(T, 1, 1, generator=rng)
    y, adam = torch.sin(turn * x + phase), torch.optim.Adam(p, lr=0.01)
    for _ in range(400):
        h = torch.relu(x @ p[0].mT + p[1].unsqueeze(1))
        h = torch.relu(h @ p[2].mT + p[3].unsqueeze(1))
        loss = (h @ p[4].mT + p[5].unsqueeze(1) - y).square().mean((1, 2)).sum()
        adam.zero_grad(), loss.backward(), adam.step()
    q = [each.detach() for each in p]
    return cisp.gated([q[0], q[2]], [q[1], q[3]], inputs=x, outputs=(q[4], q[5]), load=load)


def _gate(truth: Tensor, *, carried: bool) -> Parts:
    """Two layers that give the gate of a truth table (T, 4) on two bits; a third may be carried."""
    T, bits = len(truth), 3 if carried else 2
    first = torch.cat([torch.eye(bits), torch.tensor([[1.0, 1.0, 0.0]])[:, :bits]])
    shift = torch.zeros(bits + 1)
    shift[-1] = -1
    f0, fy, fx, fxy = truth.unbind(1)
    rows = torch.zeros(T, bits - 1, bits + 1)
    rows[:, 0, 0], rows[:, 0, 1], rows[:, 0, -1] = fx - f0, fy - f0, fxy - fx - fy + f0
    own = torch.zeros(T, bits - 1)
    own[:, 0] = f0
    if carried:
        rows[:, 1, 2] = 1
    return [first.expand(T, -1, -1), rows], [shift.expand(T, -1), own]


CASES = [
    Case(random_nets, dict(T=300, m=4, L=3), 1500, 1, "superpose", "prime_steps", 5),
    Case(random_nets, dict(T=600, m=6, L=4), 4000, 2, "superpose", "transversal_design", 5),
    Case(random_nets, dict(T=480, m=3, L=6, bias=2), 2000, 1, "superpose", "transversal_design", 6),
    Case(random_nets, dict(T=500, m=10, L=2), 3600, 3, "superpose", "prime_steps", 5),
    Case(random_nets, dict(T=900, m=3, L=4, bias=0.5), 2500, 2, "superpose", "prime_steps", 6),
    Case(random_nets, dict(T=360, m=8, L=5, load=1), 3000, 2, "extrinsic", "transversal_design", 5),
    Case(random_nets, dict(T=500, m=5, L=3), 2100, 3, "extrinsic", "transversal_design", 6),
    Case(
        random_nets, dict(T=250, m=10, L=6, load=1), 2400, 2, "extrinsic", "transversal_design", 4
    ),
    Case(gates, dict(T=320), 1000, 1, "superpose", "prime_steps", 5),
    Case(gates, dict(T=640), 2000, 2, "superpose", "transversal_design", 5),
    Case(gates, dict(T=480, L=4), 2400, 3, "superpose", "transversal_design", 7),
    Case(gates, dict(T=640, load=1), 1500, 3, "extrinsic", "transversal_design", 5),
    Case(distances, dict(T=700), 2000, 2, "superpose", "prime_steps", 5),
    Case(distances, dict(T=350), 1000, 1, "superpose", "transversal_design", 6),
    Case(distances, dict(T=600, load=1), 1200, 3, "extrinsic", "transversal_design", 6),
    Case(products, dict(T=400), 3500, 1, "superpose", "transversal_design", 5),
    Case(products, dict(T=400, load=1.5), 3000, 2, "extrinsic", "transversal_design", 5),
    Case(trained, dict(T=300), 2500, 1, "superpose", "prime_steps", 5),
    Case(trained, dict(T=480), 4000, 2, "superpose", "transversal_design", 5),
    Case(trained, dict(T=300, load=1), 2500, 2, "extrinsic", "transversal_design", 5),
]
