"""All pairs at once: AND or XOR of every two of m bits, read from one layer of D neurons.

After Vaintrob, Mendel and Hänni, "Toward a mathematical framework for computation in superposition"
(2024). The layer is h = ReLU(W x), weights (D, m) standard normal, no bias. A pair (i, j) is read
by a vector of D entries, entry k by the signs of w_ki and w_kj only: four numbers r(+,+), r(+,-),
r(-,+) and r(-,-), each over D.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import asin, pi, sqrt
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.arguments import count, generator, number, one_of, positive, refuse

CASES = ((0, 0), (1, 0), (0, 1), (1, 1))  # the bits x_i, x_j
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # of w_ki, w_kj
GATES = {"AND": (0, 0, 0, 1), "XOR": (0, 1, 1, 0), "OR": (0, 1, 1, 1)}  # over CASES


def sign_constant(others: float | int) -> float:
    """c(t) = E[sign(u) sign(v) ReLU(u + v + sqrt(t) z)] of independent standard normals (C24.1).

    others: t, how many other bits are on. Integrated by parts: at u = 0 (and at v = 0) the signs of
    v and v + sqrt(t) z agree by arcsin(1 / sqrt(1 + t)), at u + v + sqrt(t) z = 0 those of u and v
    disagree by arcsin(1 / (1 + t)).

    >>> round(sign_constant(0), 4), round(sign_constant(3), 4)
    (0.2337, 0.1225)
    """
    t = number("others", others, low=0)
    return (2 * asin(1 / sqrt(1 + t)) - sqrt(2 + t) * asin(1 / (1 + t))) * 2 / pi / sqrt(2 * pi)


def mean_activations(others: float | int) -> Float[np.ndarray, "4 4"]:
    """E[ReLU(x_i u + x_j v + sqrt(t) z)] for each of CASES (rows), given each of SIGNS (columns).

    Row (x, y), column (p, q): (sqrt(x + y + t) + p x + q y) / sqrt(2 pi), and where both bits are
    on p q c(t) more (C24.2).

    >>> mean_activations(0)[3].round(2).tolist()  # both bits on, no other
    [1.6, 0.33, 0.33, 0.0]
    """
    t = number("others", others, low=0)
    (x, y), (p, q) = np.array(CASES).T[..., None], np.array(SIGNS).T
    return (np.sqrt(x + y + t) + p * x + q * y) / sqrt(2 * pi) + x * y * p * q * sign_constant(t)


def free_parameters(gate: Sequence[float | int], others: float | int) -> Float[np.ndarray, " 4"]:
    """The four numbers r, over SIGNS, whose read-off is on average the gate's output (C24.3).

    gate: the outputs over CASES. r(p, q) = a + b p + b' q + g p q, and case by case

        (0, 0)   a sqrt(t)     / sqrt(2 pi)                      a = 0 if nothing is to be read here
        (1, 0)  (a sqrt(1 + t) + b) / sqrt(2 pi)
        (0, 1)  (a sqrt(1 + t) + b') / sqrt(2 pi)
        (1, 1)  (a sqrt(2 + t) + b + b') / sqrt(2 pi) + g c(t)

    so AND is p q / c(t) and XOR sqrt(2 pi) (p + q) - 2 p q / c(t).

    Raises ValueError for a gate that is on without any bit at t = 0, where all neurons are silent.

    >>> free_parameters(GATES["AND"], 0).round(2).tolist()
    [4.28, -4.28, -4.28, 4.28]
    """
    if len(gate) != 4:
        refuse("gate", gate, "four outputs, for the bits 00, 10, 01 and 11")
    f00, f10, f01, f11 = (number("gate's output", value) for value in gate)
    t, root = number("others", others, low=0), sqrt(2 * pi)
    if f00 and not t:
        refuse("gate", gate, "0 without any bit on where others=0, as all neurons are silent then")
    a = f00 * root / sqrt(t) if f00 else 0.0
    b, b_ = (f * root - a * sqrt(1 + t) for f in (f10, f01))
    g = (f11 - (a * sqrt(2 + t) + b + b_) / root) / sign_constant(t)
    return np.array([a + b * p + b_ * q + g * p * q for p, q in SIGNS])


def error_variance(*, D: int, on: int, others: float | int) -> float:
    """The variance of the AND read-off of a pair, over draws of the weights (C24.4).

    (on + t) / (2 c(t)^2 D), with `on` of the pair's two bits on, less 1 / D if both are: the
    squares of the four numbers are all 1 / c^2, and ReLU keeps half of a second moment.

    >>> round(error_variance(D=1000, on=0, others=3) ** 0.5, 3)
    0.316
    """
    t = number("others", others, low=0)
    second = (count("on", on, low=0, high=2) + t) / (2 * sign_constant(t) ** 2)
    return (second - (on == 2)) / count("D", D)


def affine_error(gate: Sequence[float | int]) -> float:
    """The least largest error of an affine read-off w_i x_i + w_j x_j + b of the bits (C24.5).

    |f00 - f10 - f01 + f11| / 4: an affine function has no such difference, and errors of one size
    and of alternating sign share it out.

    >>> affine_error(GATES["AND"]), affine_error(GATES["XOR"])
    (0.25, 0.5)
    """
    if len(gate) != 4:
        refuse("gate", gate, "four outputs, for the bits 00, 10, 01 and 11")
    f00, f10, f01, f11 = (number("gate's output", value) for value in gate)
    return abs(f00 - f10 - f01 + f11) / 4


def rank_floor(y: Float[np.ndarray, "inputs pairs"], D: int) -> float:
    """The least root mean square error of what is read linearly from any D neurons (C24.6).

    What is read has rank D at most, and nothing of that rank is nearer to the targets than their
    first D singular vectors, whatever the neurons compute (Eckart and Young 1936).

    >>> round(rank_floor(np.eye(4), D=2), 2)  # two of four pairs are lost
    0.35
    """
    beyond = np.linalg.svd(y, compute_uv=False)[count("D", D) :]
    return float(sqrt((beyond**2).sum() / y.size))


def gaussian(*, D: int, m: int, rng: np.random.Generator | int = 0) -> Float[np.ndarray, "D m"]:
    """The weights of a random layer, standard normal.

    >>> gaussian(D=8, m=3).shape
    (8, 3)
    """
    return generator(rng).normal(size=(count("D", D), count("m", m, low=2)))


def sparse_inputs(m: int, on: Sequence[int]) -> Float[np.ndarray, "inputs m"]:
    """All inputs of m bits of which as many are on as `on` lists, one number after the other.

    >>> sparse_inputs(3, on=[0, 2]).astype(int).tolist()
    [[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    sets = [
        one
        for k in on
        for one in combinations(range(count("m", m, low=2)), count("on", k, low=0, high=m))
    ]
    x = np.zeros((len(sets), m))
    for row, one in zip(x, sets, strict=True):
        row[list(one)] = 1
    return x


def targets(x: Float[np.ndarray, "inputs m"], gate: str) -> Float[np.ndarray, "inputs pairs"]:
    """The outputs of one of GATES for every pair i < j, in the order of `np.triu_indices(m, 1)`.

    >>> targets(sparse_inputs(3, on=[1, 2]), "AND").astype(int).tolist()
    [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    one_of("gate", gate, GATES)
    i, j = np.triu_indices(x.shape[1], 1)
    return np.array(GATES[gate], float)[(x[:, i] + 2 * x[:, j]).astype(int)]


def read_offs(
    W: Float[np.ndarray, "D m"], r: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "pairs D"]:
    """The read-off vectors of all pairs, by the signs of the layer's weights.

    >>> W, x = gaussian(D=4000, m=3), sparse_inputs(3, on=[2])
    >>> R = read_offs(W, free_parameters(GATES["AND"], 0))
    >>> (np.maximum(x @ W.T, 0) @ R.T).round().astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    i, j = np.triu_indices(W.shape[1], 1)
    negative: Int[np.ndarray, "D m"] = (W < 0).astype(int)
    return r[2 * negative[:, i] + negative[:, j]].T / len(W)


class Layers(NamedTuple):
    """One-layer networks of several seeds: R ReLU(W x + b).

    >>> one = Layers(torch.ones(1, 1, 2), -torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    >>> one(torch.tensor([[1.0, 0], [1, 1]])).flatten().tolist()  # AND is ReLU(x_0 + x_1 - 1)
    [0.0, 1.0]
    """

    W: Float[Tensor, "seeds D m"]
    b: Float[Tensor, "seeds 1 D"]
    R: Float[Tensor, "seeds pairs D"]

    def __call__(self, x: Float[Tensor, "inputs m"]) -> Float[Tensor, "seeds inputs pairs"]:
        """What is read of every pair."""
        return (x @ self.W.mT + self.b).relu() @ self.R.mT


def train(
    x: Float[Tensor, "inputs m"],
    y: Float[Tensor, "inputs pairs"],
    *,
    D: int,
    seeds: Sequence[int],
    frozen: bool = False,
    power: float | int = 2,
    weight: float | int = 1,
    steps: int = 1000,
    lr: float | int = 1e-2,
) -> Iterator[Layers]:
    """Layers after each step of Adam on the mean of |error|^power, on all inputs at once.

    frozen: the first layer stays as it was drawn, standard normal without bias; only R learns.
    weight: of the errors where the target is not 0. The rate falls to 0 in a cosine.

    >>> x = torch.from_numpy(sparse_inputs(3, on=[1, 2]))
    >>> y = torch.from_numpy(targets(x.numpy(), "AND"))
    >>> *_, net = train(x, y, D=8, seeds=[0], steps=100)
    >>> net(x)[0].round().int().tolist() == y.int().tolist()
    True
    """
    count("D", D), count("steps", steps), positive("power", power), positive("lr", lr)
    positive("weight", weight)
    drawn = np.stack([gaussian(D=D, m=x.shape[1], rng=seed) for seed in seeds])
    W = torch.from_numpy(drawn).to(x)
    net = Layers(W, W.new_zeros(len(W), 1, D), W.new_zeros(len(W), y.shape[1], D))
    learn = [net.R] if frozen else list(net)
    for p in learn:
        p.requires_grad_()
    each = torch.where(y != 0, weight, 1.0).to(x)
    adam = torch.optim.Adam(learn, lr=lr)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        ((net(x) - y).abs().pow(power) * each).mean((1, 2)).sum().backward()
        adam.step()
        rate.step()
        yield Layers(*(p.detach() for p in net))
