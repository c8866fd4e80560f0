"""Toy models of superposition: T features stored in D dimensions, or computed with in D neurons.

After Elhage et al. (2022), whose n, m and 1 - S are T, D and p here. Many models are trained side
by side: axis k runs over them.
"""

from collections.abc import Callable
from math import prod
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from cisp.arguments import count, function, generator, instance, number, positive, room, told

Model = Callable[..., Tensor]  # of inputs and weights
Weights = tuple[Tensor, ...]


def stored(
    x: Float[Tensor, "k batch T"], W: Float[Tensor, "k D T"], b: Float[Tensor, "k T"]
) -> Float[Tensor, "k batch T"]:
    """Estimates x_hat = ReLU(W^T W x + b) of features kept in D dimensions (C23.1).

    >>> W, b = torch.tensor([[[1.0, -1]]]), torch.zeros(1, 2)  # an antipodal pair
    >>> x = torch.tensor([[[0.5, 0], [0, 0.25]]])
    >>> stored(x, W, b).tolist()
    [[[0.5, 0.0], [0.0, 0.25]]]
    """
    return stored_linearly(x, W, b).relu()


def stored_linearly(
    x: Float[Tensor, "k batch T"], W: Float[Tensor, "k D T"], b: Float[Tensor, "k T"]
) -> Float[Tensor, "k batch T"]:
    """Estimates W^T W x + b, without the ReLU.

    >>> W, b = torch.tensor([[[1.0, -1]]]), torch.zeros(1, 2)  # an antipodal pair
    >>> x = torch.tensor([[[0.5, 0], [0, 0.25]]])
    >>> stored_linearly(x, W, b).tolist()
    [[[0.5, -0.5], [-0.25, 0.25]]]
    """
    _fits("x", x, None, None, None)
    k, _, T = x.shape
    _fits("W", W, k, None, T)
    _fits("b", b, k, T)
    return torch.baddbmm(b.unsqueeze(1), x @ W.mT, W)


def absolute(
    x: Float[Tensor, "k batch T"],
    W_in: Float[Tensor, "k D T"],
    W_out: Float[Tensor, "k T D"],
    b: Float[Tensor, "k T"],
) -> Float[Tensor, "k batch T"]:
    """Outputs ReLU(W_out ReLU(W_in x) + b) of D neurons, trained to be |x| (C23.6).

    >>> W_in, W_out = torch.tensor([[[1.0], [-1]]]), torch.ones(1, 1, 2)
    >>> absolute(torch.tensor([[[0.5], [-0.25]]]), W_in, W_out, torch.zeros(1, 1)).tolist()
    [[[0.5], [0.25]]]
    """
    _fits("x", x, None, None, None)
    k, _, T = x.shape
    _fits("W_in", W_in, k, None, T)
    _fits("W_out", W_out, k, T, W_in.shape[1])
    _fits("b", b, k, T)
    return torch.baddbmm(b.unsqueeze(1), (x @ W_in.mT).relu(), W_out.mT).relu()


def start(*shape: int, rng: object) -> Float[Tensor, "..."]:
    """Weights of that shape, normal with variance 2 over the sum of the last two sizes (Xavier).

    >>> round(start(100, 100, rng=0).std().item(), 2)
    0.1
    """
    if len(shape) < 2:
        _wrong("shape", shape, "two sizes or more")
    sizes = [count("shape", size) for size in shape]
    room("shape", shape, prod(sizes))
    scale = (2 / (sizes[-1] + sizes[-2])) ** 0.5
    return scale * torch.randn(sizes, generator=_torch(rng), dtype=torch.float32)


def inputs(
    p: Float[Tensor, "k T"], *, batch: int, rng: object, low: float | int = 0
) -> Float[Tensor, "k batch T"]:
    """Inputs with a feature on or more: each is on with probability p, and uniform in [low, 1].

    An input of zeros is left out, so that none is wasted where p is small: the first feature that
    is on is drawn from its law, those behind it are on by chance. `loss` weighs for both.

    >>> x = inputs(torch.full((1, 3), 0.1), batch=8, rng=0)
    >>> tuple(x.shape), (x > 0).any(2).all().item()
    ((1, 8, 3), True)
    """
    _density(p)
    count("batch", batch), number("low", low, high=1)
    room("batch", batch, p.numel() * batch)
    return _inputs(p, batch, _torch(rng), low)


def loss(
    model: Model,
    weights: Weights,
    x: Float[Tensor, "k batch T"],
    *,
    p: Float[Tensor, "k T"],
    importance: Float[Tensor, "#k T"],
) -> Float[Tensor, " k"]:
    """E sum_t I_t (|x_t| - x_hat_t)^2 of each model, estimated from `inputs` x (C23.2).

    An input of zeros comes with its exact weight. For inputs in [0, 1] the goal |x| is x itself.

    >>> W, b = torch.tensor([[[1.0, -1]]]), torch.zeros(1, 2)  # an antipodal pair
    >>> p, importance = torch.tensor([[0.1, 0.1]]), torch.ones(1, 2)
    >>> x = torch.tensor([[[0.5, 0.5], [0, 0.25]]])  # both on, one on
    >>> round(loss(stored, (W, b), x, p=p, importance=importance).item(), 4)
    0.0475
    """
    _task(model, weights, p)
    _tensor("x", x)
    _fits("x", x, len(p), None, p.shape[1])
    _importance(importance, p)
    return _loss(model, weights, x, p, importance)


def learn(
    model: Model,
    weights: Weights,
    *,
    p: Float[Tensor, "k T"],
    importance: Float[Tensor, "#k T"],
    steps: int,
    batch: int = 256,
    rate: float = 1e-2,
    low: float | int = 0,
    rng: object,
) -> Weights:
    """Weights after steps of Adam on fresh inputs; the rate falls to a hundredth, geometrically.

    >>> p, importance = torch.tensor([[0.05, 0.05]]), torch.ones(1, 2)
    >>> weights = start(1, 1, 2, rng=0), torch.zeros(1, 2)
    >>> W, b = learn(stored, weights, p=p, importance=importance, steps=60, rng=0)
    >>> W.prod().item() < 0  # an antipodal pair
    True
    """
    _task(model, weights, p)
    _importance(importance, p)
    count("steps", steps, low=0), count("batch", batch), positive("rate", rate)
    number("low", low, high=1)
    random, free = _torch(rng), tuple(each.clone().requires_grad_() for each in weights)
    adam = torch.optim.Adam(free, lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * 0.01 ** (step / steps)
        adam.zero_grad()
        x = _inputs(p, batch, random, low)
        _loss(model, free, x, p, importance).sum().backward()
        adam.step()
    return tuple(each.detach() for each in free)


def interference(W: Float[Tensor, "... D T"]) -> Float[Tensor, "... T"]:
    """sum over j != i of (W_i . W_j / |W_i|)^2, what others say along feature i; 0 for W_i = 0.

    >>> interference(torch.tensor([[1.0, -1]])).tolist()
    [1.0, 1.0]
    """
    _tensor("W", W, 2)
    G = (W.mT @ W).square()
    size = W.square().sum(-2)
    return (G.sum(-1) / size.clamp(min=torch.finfo(W.dtype).tiny) - size).clamp(min=0)


def dimensionality(W: Float[Tensor, "... D T"]) -> Float[Tensor, "... T"]:
    """|W_i|^2 / sum_j (W_i . W_j / |W_i|)^2, the share of a dimension that feature i has (C23.5).

    1 alone, 1/2 in an antipodal pair, 2/5 in a pentagon; 0 for W_i = 0.

    >>> dimensionality(torch.tensor([[1.0, -1, 0], [0, 0, 1]])).tolist()  # a pair, one alone
    [0.5, 0.5, 1.0]
    """
    _tensor("W", W, 2)
    size = W.square().sum(-2)
    return size.square() / (W.mT @ W).square().sum(-1).clamp(min=torch.finfo(W.dtype).tiny)


def one_active_loss(
    W: Float[Tensor, "k D T"], b: Float[Tensor, "k T"], importance: Float[Tensor, "#k T"]
) -> Float[Tensor, "k T"]:
    """E sum_t I_t (x_t - x_hat_t)^2 where feature j alone is on, uniform in [0, 1] (C23.3), exact.

    Each output is a ramp ReLU(g x + h) against c x, c = 1 or 0: a cubic on either side of its kink.

    >>> W, b = torch.tensor([[[1.0, 0]]]), torch.tensor([[0.0, 0.5]])  # feature 1 is left out
    >>> one_active_loss(W, b, torch.ones(1, 2)).round(decimals=2)
    tensor([[0.2500, 0.0800]])
    """
    _tensor("W", W, 2)
    _tensor("b", b)
    _fits("b", b, len(W), W.shape[-1])
    _importance(importance, b)
    g, h = W.mT @ W, b.unsqueeze(1)  # [k, j on, t read]
    c = torch.eye(W.shape[-1], dtype=W.dtype)
    kink = (-h / torch.where(g == 0, 1, g)).clamp(0, 1)  # the output is above 0 on one side of it
    lower = torch.where(g > 0, kink, 0)
    upper = torch.where(g < 0, kink, torch.where((g == 0) & (h <= 0), 0, 1))
    area, moment, cube = ((upper**k - lower**k) / k for k in (1, 2, 3))  # of 1, x, x^2 under it
    error = (g - c) ** 2 * cube + 2 * (g - c) * h * moment + h**2 * area + c * (1 / 3 - cube)
    return (error * importance.unsqueeze(1)).sum(2)


def phase_losses(*, p: float | int, importance: float | int) -> dict[str, float]:
    """Losses of ways to keep T features in T - 1 dimensions, importance of the last other than 1.

    Equation C23.4. One feature is left out, its bias at its mean p/2; or two are antipodal, exact
    unless both are on, when both lose the smaller. "pair of others" needs T = 3.

    >>> losses = phase_losses(p=0.05, importance=0.5)
    >>> min(losses, key=losses.__getitem__)
    'extra in a pair'
    """
    number("p", p, low=0, high=1), positive("importance", importance)
    out = p / 3 - p**2 / 4
    return {
        "extra left out": importance * out,
        "other left out": out,
        "extra in a pair": (1 + importance) * p**2 / 6,
        "pair of others": p**2 / 3,
    }


def _inputs(p: Tensor, batch: int, random: torch.Generator, low: float | int) -> Tensor:
    """As `inputs`, unchecked, and with a generator of torch."""
    k, T = p.shape
    reached = 1 - (1 - p).cumprod(1)  # that one of features 0..t is on
    drawn = reached[:, -1:] * torch.rand(k, batch, generator=random, dtype=p.dtype)
    first = torch.searchsorted(reached, drawn, right=True).clamp(max=T - 1).unsqueeze(2)
    u = torch.rand(k, batch, T, generator=random, dtype=p.dtype) / p.unsqueeze(1)
    on = (u < 1) & (torch.arange(T) > first)  # below 1, u is uniform itself
    u.scatter_(2, first, torch.rand(k, batch, 1, generator=random, dtype=p.dtype))
    return (low + (1 - low) * u).where(on.scatter(2, first, True), 0)


def _loss(model: Model, weights: Weights, x: Tensor, p: Tensor, importance: Tensor) -> Tensor:
    """As `loss`, unchecked."""
    nothing = (1 - p).prod(1)
    errors = (importance.unsqueeze(1) * (x.abs() - model(x, *weights)).square()).sum(2).mean(1)
    silent = (importance * model(torch.zeros_like(x[:, :1]), *weights)[:, 0].square()).sum(1)
    return nothing * silent + (1 - nothing) * errors


def _torch(rng: object) -> torch.Generator:
    """A generator of torch, seeded from a seed or a generator of numpy."""
    return torch.Generator().manual_seed(int(generator(rng).integers(2**62)))


def _wrong(name: str, value: object, allowed: str) -> NoReturn:
    """Raise the ValueError that names the argument, its value and what is allowed."""
    raise ValueError(f"{name}={told(value)} is not allowed; {name} must be {allowed}")


def _tensor(name: str, value: object, axes: int = 0) -> None:
    """Raise ValueError unless the value is a finite real tensor of so many axes."""
    instance(name, value, Tensor)
    assert isinstance(value, Tensor)
    if not value.is_floating_point() or not value.isfinite().all() or value.ndim < axes:
        _wrong(name, value, f"a tensor of finite numbers with {axes} axes or more")


def _fits(name: str, value: object, *shape: int | None) -> None:
    """Raise ValueError unless the value is a tensor of that shape; None is any size."""
    instance(name, value, Tensor)
    assert isinstance(value, Tensor)
    own = tuple(value.shape)
    if len(own) != len(shape) or any(a not in (None, b) for a, b in zip(shape, own, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} has shape {own}; it must be ({wanted})")


def _density(p: Tensor) -> None:
    """Raise ValueError unless p is (k, T), of probabilities, some of them above 0 in each row."""
    _tensor("p", p)
    if p.ndim != 2 or not ((p >= 0) & (p <= 1)).all() or not (p > 0).any(1).all():
        _wrong("p", p, "of shape (k, T), with entries in 0..1, some above 0 in each row")


def _importance(value: Tensor, like: Tensor) -> None:
    """Raise ValueError unless there is one for each feature, in each model or in all."""
    _tensor("importance", value)
    k, T = like.shape
    if value.shape not in {(k, T), (1, T)}:
        _wrong("importance", value, f"of shape ({k}, {T}) or (1, {T})")


def _task(model: object, weights: object, p: Tensor) -> None:
    """Raise ValueError unless there is a function, with weights for each row of p."""
    function("model", model)
    _density(p)
    if not isinstance(weights, tuple) or any(
        not isinstance(each, Tensor) or each.shape[:1] != p.shape[:1] for each in weights
    ):
        _wrong("weights", weights, f"a tuple of tensors of shape ({len(p)}, ...), as p has rows")
