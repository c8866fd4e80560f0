"""Logic as ReLU circuits on bits 0 and 1: gates, a full adder, a ripple-carry adder; and products.

Circuits are lists of (w, b), layer by layer: a -> ReLU(w a + b).
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

Layer = tuple[Tensor, Tensor]
Row = tuple[Tensor, Tensor, Tensor]  # w, b and what is read, of one layer


def patterns(bits: int) -> Float[Tensor, "patterns bits"]:
    """All patterns of so many bits, the last one changing fastest."""
    return torch.tensor([*product([0.0, 1.0], repeat=bits)])


def gate(truth: Sequence[int]) -> list[Layer]:
    """A gate of two inputs from what it says of 00, 01, 10, 11.

    x, y and ReLU(x + y - 1), which is their AND; any truth table is linear in these.
    """
    none, second, first, both = truth
    read = [first - none, second - none, both - first - second + none]
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([0.0, 0.0, -1.0])
    return [hidden, (torch.tensor([read]).to(hidden[0]), torch.tensor([float(none)]))]


def adder(bits: int) -> list[Layer]:
    """Ripple carry, two layers a bit: (x_0.., y_0.., carry), least bits first -> (sum_0.., carry).

    Of s = x + y + carry a layer holds ReLU(s), ReLU(s - 1), ReLU(s - 2), and the next makes

        sum = s - 2 ReLU(s - 1) + 2 ReLU(s - 2),   carry = ReLU(s - 1) - ReLU(s - 2).

    All other neurons wait: identity.
    """
    layers: list[Layer] = []
    for k in range(bits):
        left = bits - k - 1  # bits of x and of y that wait
        wait = [*range(k)], [*range(k + 1, k + 1 + left)], [*range(k + 2 + left, k + 2 + 2 * left)]
        waiting = [place for group in wait for place in group]
        width = k + 2 * left + 3  # sums, x, y, carry
        w, b = torch.zeros(len(waiting) + 3, width), torch.zeros(len(waiting) + 3)
        w[range(len(waiting)), waiting] = 1
        w[-3:, [k, k + 1 + left, width - 1]] = 1
        b[-2:] = torch.tensor([-1.0, -2.0])
        layers.append((w, b))
        w = torch.zeros(len(waiting) + 2, len(waiting) + 3)
        kept = [*range(k), *range(k + 1, len(waiting) + 1)]
        w[kept, range(len(waiting))] = 1
        w[k, -3:], w[-1, -3:] = torch.tensor([1.0, -2.0, 2.0]), torch.tensor([0.0, 1.0, -1.0])
        layers.append((w, torch.zeros(len(w))))
    return layers


def inverted(layers: Sequence[Layer], flip: Bool[np.ndarray, " inputs"]) -> list[Layer]:
    """The circuit of the inputs of which some are inverted, x -> 1 - x."""
    (w, b), chosen = layers[0], torch.from_numpy(flip)
    return [(torch.where(chosen, -w, w), b + w[:, chosen].sum(1)), *layers[1:]]


def shuffled(layers: Sequence[Layer], rng: np.random.Generator) -> list[Layer]:
    """The same circuit with its hidden neurons in another order, layer by layer."""
    found, order = [], np.arange(layers[0][0].shape[1])
    for k, (w, b) in enumerate(layers, 1):
        after = rng.permutation(len(w)) if k < len(layers) else np.arange(len(w))
        found.append((w[after][:, order], b[after]))
        order = after
    return found


def distance(c: float, *, width: int) -> Row:
    """|x - c|, of the first of two inputs: two neurons, the others idle."""
    w, b, v = torch.zeros(width, 2), torch.zeros(width), torch.zeros(1, width)
    w[:2, 0], b[:2], v[0, :2] = torch.tensor([1.0, -1.0]), torch.tensor([-c, c]), 1
    return w, b, v


def turned_product(angle: float) -> Row:
    """x y in axes turned by an angle, on [-1, 1]^2: 16 neurons, off by at most 1/64.

    4 x y = (x + y)^2 - (x - y)^2, and a square u^2 is replaced by straight pieces between the
    multiples of 1/2: |u| / 2 + the sum of ReLU(|u| - k / 2) over k = 1, 2, 3.
    """
    c, s = float(np.cos(angle)), float(np.sin(angle))
    plus, minus = torch.tensor([c - s, s + c]), torch.tensor([c + s, s - c])
    sides = torch.stack([plus, -plus, minus, -minus]).repeat_interleave(4, 0)
    knots, slopes = torch.tensor([0.0, 0.5, 1.0, 1.5]), torch.tensor([0.5, 1.0, 1.0, 1.0])
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat_interleave(4)
    return sides, -knots.repeat(4), (signs * slopes.repeat(4) / 4).unsqueeze(0)


def held(layers: Sequence[Layer], *, L: int) -> list[Layer]:
    """The circuit, held by identity layers until layer L."""
    width = len(layers[-1][0])
    return [*layers, *[(torch.eye(width), torch.zeros(width))] * (L - len(layers))]


def stacked(
    circuits: Sequence[Sequence[Layer]], *, width: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    """Lists over layers of w (T, m_l, m_{l-1}) and b (T, m_l), as `cisp.gated` takes them.

    width: the least number of neurons in each layer and of inputs; what is added stays at 0.
    """
    weights, biases = [], []
    for layer in zip(*circuits, strict=True):
        w, b = torch.stack([w for w, _ in layer]), torch.stack([b for _, b in layer])
        rows, columns = (max(width - size, 0) for size in w.shape[1:])
        weights.append(pad(w, (0, columns, 0, rows)))
        biases.append(pad(b, (0, rows)))
    return weights, biases
