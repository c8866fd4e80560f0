"""The post's small circuits: rotations under an On-indicator, and the indicator alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cisp.arguments import count, generator, room
from cisp.circuits import SmallCircuits
from cisp.inputs import Seed, finite, floating, held


def conditional_rotations(
    *,
    T: int | None = None,
    theta: object = None,
    bias: float | int = 1,
    gain: float | int = 2,
    threshold: float | int = 0.5,
    rng: Seed = 0,
    dtype: torch.dtype | None = None,
) -> SmallCircuits:
    """T circuits (d = 4) that rotate a plane vector x by theta_t while their On-indicator is 1.

    Equations 3.1-3.3 and 5.2-5.6. Two neurons carry the indicator alpha = a_0 - a_1, two carry
    x + alpha, so that the ReLU never cuts an active vector with |x| <= 1:

        alpha   a_0, a_1       alpha after     x after
        1       1.5, 0.5       1.5 - 0.5 = 1   rotated x
        0       0, 0           0               0, and so is any input smaller than 0.177

    theta: (T,), or (L, T) for an angle of its own in each layer; drawn uniformly if not given.
    bias: minus the bias b of the vector neurons, ReLU(rotated x + (1 + bias) alpha - bias): the
        size of x that an inactive circuit still silences. The post's is 1.
    gain, threshold: alpha goes to clip(gain (alpha - threshold) + 1/2, 0, 1). The post's are 2
        and 0.5 (3.3); where gain |alpha - threshold| is at least 1/2 errors do not pass.

    >>> circuits = conditional_rotations(T=3, rng=0)
    >>> tuple(circuits.w.shape), circuits.b.tolist()
    ((3, 4, 4), [-0.5, -1.5, -1.0, -1.0])
    """
    kind = floating(dtype)
    held("bias", bias, kind), held("gain", gain, kind), held("threshold", threshold, kind)
    angles = _angles(T, theta, rng)
    c, s = torch.cos(angles), torch.sin(angles)
    zero, slope, gate = (torch.full_like(c, value) for value in (0, gain, 1 + bias))
    rows = [
        [slope, -slope, zero, zero],
        [slope, -slope, zero, zero],
        [gate - (c - s), -gate + (c - s), c, -s],
        [gate - (s + c), -gate + (s + c), s, c],
    ]
    return SmallCircuits(
        w=_matrices(rows).to(kind),
        b=torch.cat(
            [step_bias(gain, threshold, kind), torch.full((2,), -bias, dtype=kind, device="cpu")]
        ),
        readouts={
            "indicator": _given([[1.0, -1, 0, 0]]),
            "rotation": _given([[-1.0, 1, 1, 0], [-1, 1, 0, 1]]),
        },
        theta=angles.to(kind),
        input_mean=_given([1.5, 0.5, 1, 1]),
        input_map=torch.eye(4, device="cpu")[:, 2:],
    )


def loaded_rotations(
    *,
    L: int = 5,
    T: int | None = None,
    theta: object = None,
    bias: float | int = 1,
    gain: float | int = 2,
    threshold: float | int = 0.5,
    rng: Seed = 0,
    dtype: torch.dtype | None = None,
) -> SmallCircuits:
    """Conditional rotations whose first layer adds up without a fault where circuits share (d = 4).

    Beyond the post. Layer 1 puts out (alpha, ReLU(alpha - 1), x + alpha), and layer 2 takes the
    vector as a_2 - a_0. The input of a position that k active circuits share is the sum of theirs,
    so layer 1 holds (k, k - 1, sum of x + k) there: an indicator of 1 and the sum of the vectors.
    In `conditional_rotations` the vector read there is 2 (k - 1) too large in both components. What
    is read from layer 1 of these circuits means nothing: the read-outs are for the layers after it.
    Gain and threshold are those of the steps from layer 2 on.

    >>> loaded_rotations(T=5, rng=0, bias=3).b[-1].tolist()
    [-0.5, -1.5, -3.0, -3.0]
    """
    step = {"gain": gain, "threshold": threshold}
    circuits = conditional_rotations(T=T, theta=theta, bias=bias, **step, rng=rng, dtype=dtype)
    circuits = circuits.with_layers(L if circuits.w.ndim == 3 else circuits.L)
    w = circuits.w.expand(circuits.L, -1, -1, -1).clone()
    b = circuits.b.expand(circuits.L, -1).clone()
    w[0, :, :2] /= gain
    w[0, :, 2:, 0] -= bias
    w[0, :, 2:, 1] += bias
    b[0] = b.new_tensor([0.0, -1, 0, 0])
    if circuits.L > 1:
        w[1, :, 2:, 1] -= w[1, :, 2:, 2:].sum(-1)
    return replace(circuits, w=w, b=b)


def step_indicators(
    *,
    T: int,
    gain: float | int = 2,
    threshold: float | int = 0.5,
    dtype: torch.dtype | None = None,
) -> SmallCircuits:
    """T copies of the On-indicator alone (d = 2), a step made of two ReLUs (3.3).

    alpha goes to clip(gain (alpha - threshold) + 1/2, 0, 1): gain (alpha - threshold) + 1/2 and
    the same less 1 are positive one after the other, and differ by 1 once both are. With the
    post's 2 and 0.5, alpha goes to 0 below 0.25, to 1 above 0.75, and small errors do not pass.

    >>> step_indicators(T=1, gain=4, threshold=0.75).b.tolist()
    [-2.5, -3.5]
    """
    kind = floating(dtype)
    held("gain", gain, kind), held("threshold", threshold, kind)
    room("T", T, 8 * count("T", T))
    row = gain * torch.tensor([1.0, -1], dtype=kind, device="cpu")
    return SmallCircuits(
        w=row.repeat(count("T", T), 2, 1),
        b=step_bias(gain, threshold, kind),
        readouts={"indicator": _given([[1.0, -1]])},
        input_mean=_given([1.5, 0.5]),
        input_map=torch.zeros(2, 1, device="cpu"),
    )


def one_relu_rotations(
    *,
    T: int | None = None,
    theta: object = None,
    rng: Seed = 0,
    dtype: torch.dtype | None = None,
) -> SmallCircuits:
    """T conditional rotations with one indicator neuron (d = 3), alpha = ReLU(2 alpha - 1).

    The simpler circuit that section 3 of the post rejects: alpha = 1 is a fixed point, but an error
    on it doubles at each layer. Kept to show why two ReLUs are needed.

    >>> one_relu_rotations(T=5, rng=0).d
    3
    """
    angles = _angles(T, theta, rng)
    c, s = torch.cos(angles), torch.sin(angles)
    zero, two = torch.zeros_like(c), torch.full_like(c, 2.0)
    rows = [[two, zero, zero], [two - (c - s), c, -s], [two - (s + c), s, c]]
    kind = floating(dtype)
    return SmallCircuits(
        w=_matrices(rows).to(kind),
        b=_given([-1.0, -1, -1]),
        readouts={
            "indicator": _given([[1.0, 0, 0]]),
            "rotation": _given([[-1.0, 1, 0], [-1, 0, 1]]),
        },
        theta=angles.to(kind),
        input_mean=torch.ones(3, device="cpu"),
        input_map=torch.eye(3, device="cpu")[:, 1:],
    )


def _given(numbers: Sequence[object]) -> Tensor:
    """Numbers, which `SmallCircuits` moves to where the weights are."""
    return torch.tensor(numbers, device="cpu")


def step_bias(gain: float | int, threshold: float | int, dtype: torch.dtype) -> Tensor:
    """The biases (2,) of the step clip(gain (alpha - threshold) + 1/2, 0, 1).

    >>> step_bias(2, 0.5, torch.float32).tolist()  # the post's
    [-0.5, -1.5]
    """
    return torch.tensor([0.5, -0.5], dtype=dtype, device="cpu") - gain * threshold


def _angles(T: int | None, theta: object, rng: Seed) -> Tensor:
    """Angles in float64 of shape (T,) or (L, T): the given ones, checked, or T drawn ones."""
    if theta is None:
        if T is None:
            raise ValueError("T=None and theta=None; give the number of circuits or their angles")
        room("T", T, 64 * count("T", T))
        return torch.from_numpy(generator(rng).uniform(0, 2 * np.pi, count("T", T)))
    if T is not None:
        count("T", T)
    angles = finite("theta", theta).double()
    if angles.ndim not in (1, 2) or 0 in angles.shape or T not in (None, angles.shape[-1]):
        wanted = "(T,) or (L, T)" if T is None else f"({T},) or (L, {T})"
        raise ValueError(f"theta has shape {tuple(angles.shape)}; it must be {wanted}")
    return angles


def _matrices(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
