"""A transformer of one layer that learns to sort, and how even its circuits are.

After McDougall's challenge of October 2023 and Urdshals & Urdshals (arXiv 2501.18666): distinct
numbers, a separator, then the same numbers in order; the loss is on the second half alone.
"""

from collections.abc import Callable, Iterator
from math import comb, factorial, log

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..arguments import count, function, generator, instance, number, positive, refuse

Lists = Int[Tensor, "batch length"]
Target = Callable[[Lists, np.random.Generator], Lists]


class Sorter(nn.Module):
    """One layer of attention, no more: numbers 0..numbers-1 and a separator, which is `numbers`.

    A LayerNorm's gain and bias are left out, as the linear map that follows can hold them.

    >>> model = Sorter(numbers=5, length=3, width=8, heads=2, head_width=4)
    >>> tokens = sequence(torch.tensor([[4, 0, 2]]), torch.tensor([[0, 2, 4]]), separator=5)
    >>> attention = model.attention(tokens)
    >>> tuple(attention.shape), tuple(model.read(tokens, attention).shape)
    ((1, 2, 3, 6), (1, 3, 6))
    """

    def __init__(
        self,
        *,
        numbers: int = 51,
        length: int = 10,
        width: int = 96,
        heads: int = 2,
        head_width: int = 48,
        rng: int | list[int] | np.random.Generator = 0,
    ) -> None:
        super().__init__()
        self.numbers, self.length = count("numbers", numbers), count("length", length, high=numbers)
        H, k, m = count("heads", heads), count("head_width", head_width), count("width", width)
        draw = generator(rng)

        def normal(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.tensor(draw.normal(size=shape)).float() / fan_in**0.5)

        self.E = normal(numbers + 1, m, fan_in=m)  # of each number, and of the separator
        self.P = normal(2 * length, m, fan_in=m)  # of each position
        self.Q, self.K, self.V = (normal(H, m, k, fan_in=m) for _ in range(3))
        self.O = normal(H, k, m, fan_in=H * k)
        self.U = normal(m, numbers + 1, fan_in=m)
        self.bias = nn.ParameterDict({x: torch.zeros(H, 1, k) for x in "QKV"})
        self.bias["U"] = nn.Parameter(torch.zeros(numbers + 1))

    def forward(
        self, tokens: Int[Tensor, "batch place"], *, shift: Tensor | None = None
    ) -> Float[Tensor, "batch out token"]:
        """Logits of the next number, from the separator on.

        `shift` (heads, token, token) is added to the QK circuits, rows asking, as if they were so.

        >>> model = Sorter(numbers=5, length=3, width=8, heads=2, head_width=4)
        >>> tokens = torch.tensor([[4, 0, 2, 5, 0, 2]])
        >>> tuple(model(tokens).shape)  # batch out token
        (1, 3, 6)
        """
        return self.read(tokens, self.attention(tokens, shift=shift))

    def attention(
        self, tokens: Int[Tensor, "batch place"], *, shift: Tensor | None = None
    ) -> Float[Tensor, "batch heads out place"]:
        """The attention of each head, from the separator on, to all before."""
        x, sd = _normed(self._before(tokens))
        first = self.length
        q = torch.einsum("bpm,hmk->bhpk", x[:, first:], self.Q) + self.bias["Q"]
        k = torch.einsum("bpm,hmk->bhpk", x, self.K) + self.bias["K"]
        scores = q @ k.mT / self.Q.shape[2] ** 0.5
        if shift is not None:
            change = shift[:, tokens[:, first:, None], tokens[:, None]].movedim(0, 1)
            scores = scores + change / (sd[:, None, first:] * sd[:, None].mT)
        later = torch.ones(scores.shape[2:], dtype=torch.bool).triu(first + 1)
        return scores.masked_fill(later, -torch.inf).softmax(-1)

    def read(
        self,
        tokens: Int[Tensor, "batch place"],
        attention: Float[Tensor, "batch heads out place"],
    ) -> Float[Tensor, "batch out token"]:
        """Logits of the next number if the heads attend so."""
        before = self._before(tokens)
        v = torch.einsum("bpm,hmk->bhpk", _normed(before)[0], self.V) + self.bias["V"]
        after = before[:, self.length :] + torch.einsum("bhpk,hkm->bpm", attention @ v, self.O)
        return _normed(after)[0] @ self.U + self.bias["U"]

    def _before(self, tokens: Tensor) -> Tensor:
        """What stands at each place before the layer."""
        instance("tokens", tokens, Tensor)
        places = range(self.length + 1, 2 * self.length + 1)
        whole = tokens.ndim == 2 and tokens.dtype == torch.int64 and tokens.shape[1] in places
        if not (whole and ((tokens >= 0) & (tokens <= self.numbers)).all()):
            allowed = f"rows of {places[0]}..{places[-1]} int64 in 0..{self.numbers}"
            refuse("tokens", tokens, allowed)
        return self.E[tokens] + self.P[: tokens.shape[1]]


def _normed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of mean 0 and variance 1, and the standard deviations they had."""
    x = _less_mean(x)
    sd = (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return x / sd, sd


def qk(model: Sorter) -> Float[Tensor, "heads token token"]:
    """How strongly token i (row) asks for token j: the QK circuits (C26.1), less LayerNorm.

    >>> tuple(qk(Sorter(numbers=5, length=3)).shape)
    (2, 6, 6)
    """
    instance("model", model, Sorter)
    E = _less_mean(model.E.detach())
    return (E @ model.Q.detach()) @ (E @ model.K.detach()).mT / model.Q.shape[2] ** 0.5


def ov(model: Sorter) -> Float[Tensor, "heads token token"]:
    """What attending to token i (row) adds to the logit of token j: the OV circuits (C26.2).

    >>> tuple(ov(Sorter(numbers=5, length=3)).shape)
    (2, 6, 6)
    """
    instance("model", model, Sorter)
    moved = _less_mean(model.E.detach()) @ model.V.detach() @ model.O.detach()
    return _less_mean(moved) @ model.U.detach()


def _less_mean(M: Tensor) -> Tensor:
    return M - M.mean(-1, keepdim=True)


def lists(
    *, batch: int, numbers: int = 51, length: int = 10, rng: int | np.random.Generator
) -> Lists:
    """Lists of distinct numbers below `numbers`, all as likely.

    >>> lists(batch=2, numbers=5, length=3, rng=0).tolist()
    [[3, 2, 1], [3, 1, 2]]
    """
    count("length", length, high=count("numbers", numbers))
    order = generator(rng).random((count("batch", batch), numbers)).argsort(1)
    return torch.from_numpy(order[:, :length])


def in_order(x: Lists, rng: np.random.Generator | None = None) -> Lists:
    """The sorted lists; no chance is in it.

    >>> in_order(torch.tensor([[4, 0, 2]])).tolist()
    [[0, 2, 4]]
    """
    return x.sort(1).values


def permuted(share: float) -> Target:
    """Targets of which a share are permuted at random, whole lists at a time.

    >>> x = torch.tensor([[4, 0, 2]] * 3)
    >>> permuted(0.5)(x, np.random.default_rng(0)).tolist()
    [[0, 2, 4], [0, 2, 4], [4, 2, 0]]
    """
    number("share", share, low=0, high=1)

    def target(x: Lists, rng: np.random.Generator) -> Lists:
        noisy = torch.from_numpy(rng.random((len(x), 1)) < share)
        shuffled = torch.from_numpy(rng.permuted(x.numpy(), axis=1))
        return torch.where(noisy, shuffled, in_order(x))

    return target


def replaced(share: float, *, numbers: int = 51) -> Target:
    """Targets in order, but a share of elements are replaced by numbers that the list lacks.

    >>> x = torch.tensor([[4, 0, 2]] * 3)
    >>> replaced(0.5, numbers=9)(x, np.random.default_rng(0)).tolist()
    [[0, 2, 4], [4, 5, 8], [0, 1, 4]]
    """
    number("share", share, low=0, high=1)

    def target(x: Lists, rng: np.random.Generator) -> Lists:
        keys = rng.random((len(x), numbers))
        np.put_along_axis(keys, x.numpy(), 2, axis=1)  # last: what the list has
        others = torch.from_numpy(keys.argsort(1)[:, : x.shape[1]])
        new = torch.from_numpy(rng.random(tuple(x.shape)) < share)
        return in_order(torch.where(new, others, x))

    return target


def floor_permuted(*, share: float, length: int = 10) -> float:
    """The least loss for each number in nats if a share of targets are permuted (C26.5).

    >>> round(floor_permuted(share=0.1), 2)
    0.18
    """
    N = factorial(count("length", length))
    p = number("share", share, low=0, high=1)
    rest, right = p / N, 1 - p + p / N
    return (-(N - 1) * _xlogx(rest) - _xlogx(right)) / length


def floor_replaced(*, share: float, numbers: int = 51, length: int = 10) -> float:
    """The least loss for each number in nats if a share of elements are replaced (C26.6).

    >>> round(floor_replaced(share=0.1), 2)
    0.67
    """
    count("numbers", numbers, low=2 * count("length", length))
    r = number("share", share, low=0, high=1)
    which = -length * (_xlogx(r) + _xlogx(1 - r))
    by_what = sum(
        comb(length, k) * r**k * (1 - r) ** (length - k) * log(comb(numbers - length, k))
        for k in range(length + 1)
    )
    return (which + by_what) / length


def _xlogx(p: float) -> float:
    return p * log(p) if p > 0 else 0.0


def sequence(x: Lists, y: Lists, *, separator: int = 51) -> Int[Tensor, "batch place"]:
    """What the model reads: the list, the separator, the output but for its last number.

    >>> sequence(torch.tensor([[4, 0, 2]]), torch.tensor([[0, 2, 4]]), separator=5).tolist()
    [[4, 0, 2, 5, 0, 2]]
    """
    return torch.cat([x, torch.full_like(x[:, :1], separator), y[:, :-1]], 1)


def loss(model: Sorter, x: Lists, y: Lists) -> Float[Tensor, "batch length"]:
    """Cross-entropy of each number of the outputs in nats.

    >>> model = Sorter(numbers=5, length=3, width=8, heads=2, head_width=4)
    >>> x = lists(batch=4, numbers=5, length=3, rng=0)
    >>> tuple(loss(model, x, in_order(x)).shape)  # untrained, about log 6 each
    (4, 3)
    """
    logits = model(sequence(x, y, separator=model.numbers))
    return nn.functional.cross_entropy(logits.mT, y, reduction="none")


def train(
    model: Sorter,
    *,
    steps: int,
    target: Target = in_order,
    batch: int = 128,
    lr: float = 1e-3,
    decay: float = 0.01,
    rng: int | list[int] | np.random.Generator,
) -> Iterator[int]:
    """Descends on fresh lists by AdamW, its rate falling linearly to 0; yields 0, 1, ... steps.

    >>> model = Sorter(numbers=5, length=3, width=8, heads=2, head_width=4)
    >>> x = lists(batch=64, numbers=5, length=3, rng=0)
    >>> before = loss(model, x, in_order(x)).mean()
    >>> steps = list(train(model, steps=20, rng=1))
    >>> steps[-1], bool(loss(model, x, in_order(x)).mean() < before)
    (20, True)
    """
    instance("model", model, Sorter)
    function("target", target)
    count("steps", steps)
    draw = generator(rng)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=positive("lr", lr), weight_decay=number("decay", decay, low=0)
    )
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, total_iters=steps)
    yield 0
    for step in range(1, steps + 1):
        x = lists(batch=batch, numbers=model.numbers, length=model.length, rng=draw)
        optimizer.zero_grad()
        loss(model, x, target(x, draw)).mean().backward()
        optimizer.step()
        falling.step()
        yield step
