"""Small circuits as weights, and the oracle that runs each of them alone (section 5.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.arguments import count

Seed = np.random.Generator | int


@dataclass(frozen=True, eq=False)
class SmallCircuits:
    """T circuits a^l = ReLU(w_t^l a^{l-1} + b^l), each d neurons wide and L layers deep.

    Equation 5.1. The bias has no circuit index: all circuits share it in a layer (assumption 4').

    w: (T, d, d) when every layer has the same weights, else (L, T, d, d).
    b: (d,) or (L, d).
    readouts: for each named quantity the (k, d) matrix that reads it from a circuit's activations.
    theta: the angles of rotation circuits in radians, kept for reference.
    L: layers; read from w or b where they carry a layer axis, else the post's five.
    input_mean (d,), input_map (d, k): an active circuit's input is drawn as
        input_mean + input_map u, with u uniform on the unit sphere of R^k;
        without them, uniform on the unit sphere of R^d.

    Raises ValueError for weights, biases or readouts that are not finite or whose shapes disagree.
    """

    w: Tensor
    b: Tensor
    readouts: Mapping[str, Tensor] = field(default_factory=dict)
    theta: Tensor | None = None
    L: int = None  # type: ignore[assignment]  # these three are filled in below
    input_mean: Tensor = None  # type: ignore[assignment]
    input_map: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        w = finite("w", self.w)
        b = finite("b", self.b).to(w)
        if w.ndim not in (3, 4) or w.shape[-1] != w.shape[-2] or 0 in w.shape:
            raise ValueError(
                f"w has shape {tuple(w.shape)}; it must be (T, d, d) or (L, T, d, d), none 0"
            )
        T, d = w.shape[-3], w.shape[-1]
        if b.ndim == 3 or (b.ndim == 2 and w.ndim == 3 and b.shape[0] == T):
            raise ValueError(
                f"b has shape {tuple(b.shape)}, a bias for each of the {T} circuits; they must "
                f"share one bias vector in a layer (assumption 4'): b must be ({d},) or (L, {d})"
                f"{', the latter with w as (L, T, d, d)' if b.ndim == 2 else ''}"
            )
        if b.ndim not in (1, 2) or b.shape[-1] != d or 0 in b.shape:
            raise ValueError(
                f"b has shape {tuple(b.shape)}; with d={d} it must be ({d},) or (L, {d})"
            )
        depths = [len(x) for x, full in ((w, 4), (b, 2)) if x.ndim == full]
        if len(set(depths)) == 2:
            raise ValueError(f"w has {depths[0]} layers but b has {depths[1]}; they must agree")
        L = count("L", 5 if self.L is None else self.L) if not depths else depths[0]
        if depths and self.L is not None and self.L != L:
            raise ValueError(f"L={self.L} but the weights or biases are given for {L} layers")
        readouts = {
            name: finite(f"readouts[{name!r}]", m).to(w) for name, m in self.readouts.items()
        }
        for name, m in readouts.items():
            if m.ndim != 2 or m.shape[1] != d or not len(m):
                raise ValueError(
                    f"readouts[{name!r}] has shape {tuple(m.shape)}; it must be (k, {d})"
                )
        mean = w.new_zeros(d) if self.input_mean is None else finite("input_mean", self.input_mean)
        spread = torch.eye(d) if self.input_map is None else finite("input_map", self.input_map)
        if mean.shape != (d,) or spread.ndim != 2 or len(spread) != d:
            raise ValueError(
                f"input_mean has shape {tuple(mean.shape)} and input_map {tuple(spread.shape)}; "
                f"they must be ({d},) and ({d}, k)"
            )
        theta = None if self.theta is None else finite("theta", self.theta).to(w)
        if theta is not None and theta.shape not in ((T,), (L, T)):
            raise ValueError(
                f"theta has shape {tuple(theta.shape)}; it must be ({T},) or ({L}, {T})"
            )
        known = dict(
            theta=theta,
            w=w,
            b=b,
            readouts=readouts,
            L=L,
            input_mean=mean.to(w),
            input_map=spread.to(w),
        )
        for name, value in known.items():
            object.__setattr__(self, name, value)

    @property
    def T(self) -> int:
        """The number of circuits."""
        return self.w.shape[-3]

    @property
    def d(self) -> int:
        """The number of neurons in a layer of one circuit."""
        return self.w.shape[-1]

    @property
    def w_mean(self) -> Float[Tensor, "*layers d d"]:
        """The sample mean w-bar of the weights over the T circuits (5.18)."""
        return self.w.mean(-3)

    @property
    def delta_w(self) -> Float[Tensor, "*layers t d d"]:
        """The differences Delta w_t = w_t - w-bar (5.19)."""
        return self.w - self.w_mean.unsqueeze(-3)

    def at(self, layer: int) -> tuple[Float[Tensor, "t d d"], Float[Tensor, " d"]]:
        """The weights w^l and the bias b^l of layer 1..L."""
        row = count("layer", layer, high=self.L) - 1
        return self.w if self.w.ndim == 3 else self.w[row], self.b if self.b.ndim == 1 else self.b[
            row
        ]

    def to(self, target: torch.dtype | torch.device | str) -> "SmallCircuits":
        """The same circuits in another floating dtype or on another device."""
        if isinstance(target, torch.dtype) and not target.is_floating_point:
            raise ValueError(f"target={target} is not allowed; it must be a floating dtype")
        moved = {k: v.to(target) for k, v in vars(self).items() if isinstance(v, Tensor)}
        readouts = {k: m.to(target) for k, m in self.readouts.items()}
        return replace(self, readouts=readouts, **moved)  # type: ignore[arg-type]  # all tensors

    def with_layers(self, L: int) -> "SmallCircuits":
        """The circuits run for L layers; raises if their weights or biases end earlier."""
        fixed = self.w.ndim == 3 and self.b.ndim == 1
        count("L", L, high=None if fixed else self.L)
        if fixed:
            return replace(self, L=L)
        w = self.w.expand(self.L, *self.w.shape[-3:])[:L]
        b = self.b if self.b.ndim == 1 else self.b[:L]
        theta = self.theta if self.theta is None or self.theta.ndim == 1 else self.theta[:L]
        return replace(self, L=L, w=w, b=b, theta=theta)

    def quantities(self, a: Float[Tensor, "*any d"]) -> dict[str, Float[Tensor, "*any _"]]:
        """Each named quantity read from circuit activations a (for rotations 5.5 and 5.6)."""
        return {name: a @ m.T for name, m in self.readouts.items()}

    def sample_inputs(self, *, batch: int, z: int, rng: Seed = 0) -> Float[Tensor, "batch z d"]:
        """Inputs a^0 of z active circuits, drawn as the class says (for rotations 5.4, |x| = 1)."""
        count("batch", batch)
        count("z", z, high=self.T)
        u = np.random.default_rng(rng).normal(size=(batch, z, self.input_map.shape[1]))
        u /= np.linalg.norm(u, axis=-1, keepdims=True)
        return self.input_mean + torch.from_numpy(u).to(self.w) @ self.input_map.T

    def run(
        self, a0: Float[Tensor, "batch z d"], active: Int[Tensor, "batch z"]
    ) -> Float[Tensor, "layers batch z d"]:
        """Activations a^0..a^L of the active circuits, each run alone: the oracle (5.1)."""
        check_inputs(a0, active, T=self.T, d=self.d, dtype=self.w.dtype)
        a = [a0]
        for layer in range(1, self.L + 1):
            w, b = self.at(layer)
            a.append(torch.relu(torch.einsum("bzij,bzj->bzi", w[active], a[-1]) + b))
        return torch.stack(a)


def conditional_rotations(
    *,
    T: int | None = None,
    theta: object = None,
    bias: float | int = 1,
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

    >>> circuits = conditional_rotations(T=3, rng=0)
    >>> tuple(circuits.w.shape), circuits.b.tolist()
    ((3, 4, 4), [-0.5, -1.5, -1.0, -1.0])
    """
    if not 0 < bias < inf:
        raise ValueError(f"bias={bias!r} is not allowed; bias must be a positive number")
    angles = _angles(T, theta, rng)
    c, s = torch.cos(angles), torch.sin(angles)
    zero, two, gate = torch.zeros_like(c), torch.full_like(c, 2.0), torch.full_like(c, 1.0 + bias)
    rows = [
        [two, -two, zero, zero],
        [two, -two, zero, zero],
        [gate - (c - s), -gate + (c - s), c, -s],
        [gate - (s + c), -gate + (s + c), s, c],
    ]
    kind = dtype or torch.get_default_dtype()
    return SmallCircuits(
        w=_matrices(rows).to(kind),
        b=torch.tensor([-0.5, -1.5, -bias, -bias], dtype=kind),
        readouts={
            "indicator": torch.tensor([[1.0, -1, 0, 0]]),
            "rotation": torch.tensor([[-1.0, 1, 1, 0], [-1, 1, 0, 1]]),
        },
        theta=angles.to(kind),
        input_mean=torch.tensor([1.5, 0.5, 1, 1]),
        input_map=torch.eye(4)[:, 2:],
    )


def loaded_rotations(
    *,
    L: int = 5,
    T: int | None = None,
    theta: object = None,
    bias: float | int = 1,
    rng: Seed = 0,
    dtype: torch.dtype | None = None,
) -> SmallCircuits:
    """Conditional rotations whose first layer adds up without a fault where circuits share (d = 4).

    Beyond the post. Layer 1 puts out (alpha, ReLU(alpha - 1), x + alpha), and layer 2 takes the
    vector as a_2 - a_0. The input of a position that k active circuits share is the sum of theirs,
    so layer 1 holds (k, k - 1, sum of x + k) there: an indicator of 1 and the sum of the vectors.
    In `conditional_rotations` the vector read there is 2 (k - 1) too large in both components. What
    is read from layer 1 of these circuits means nothing: the read-outs are for the layers after it.
    """
    circuits = conditional_rotations(T=T, theta=theta, bias=bias, rng=rng, dtype=dtype)
    circuits = circuits.with_layers(L if circuits.w.ndim == 3 else circuits.L)
    w = circuits.w.expand(circuits.L, -1, -1, -1).clone()
    b = circuits.b.expand(circuits.L, -1).clone()
    w[0, :, :2] /= 2
    w[0, :, 2:, 0] -= bias
    w[0, :, 2:, 1] += bias
    b[0] = torch.tensor([0.0, -1, 0, 0])
    if circuits.L > 1:
        w[1, :, 2:, 1] -= w[1, :, 2:, 2:].sum(-1)
    return replace(circuits, w=w, b=b)


def step_indicators(*, T: int, dtype: torch.dtype | None = None) -> SmallCircuits:
    """T copies of the On-indicator alone (d = 2), a step made of two ReLUs (3.3).

    2 (a_0 - a_1) - 0.5 and - 1.5 differ by 1 once both are positive, so alpha goes to 0 below 0.25,
    to 1 above 0.75, and small errors do not pass.
    """
    w = torch.tensor([[2.0, -2], [2, -2]], dtype=dtype).expand(count("T", T), 2, 2)
    return SmallCircuits(
        w=w.clone(),
        b=torch.tensor([-0.5, -1.5]),
        readouts={"indicator": torch.tensor([[1.0, -1]])},
        input_mean=torch.tensor([1.5, 0.5]),
        input_map=torch.zeros(2, 1),
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
    """
    angles = _angles(T, theta, rng)
    c, s = torch.cos(angles), torch.sin(angles)
    zero, two = torch.zeros_like(c), torch.full_like(c, 2.0)
    rows = [[two, zero, zero], [two - (c - s), c, -s], [two - (s + c), s, c]]
    kind = dtype or torch.get_default_dtype()
    return SmallCircuits(
        w=_matrices(rows).to(kind),
        b=torch.tensor([-1.0, -1, -1]),
        readouts={
            "indicator": torch.tensor([[1.0, 0, 0]]),
            "rotation": torch.tensor([[-1.0, 1, 0], [-1, 0, 1]]),
        },
        theta=angles.to(kind),
        input_mean=torch.ones(3),
        input_map=torch.eye(3)[:, 1:],
    )


def finite(name: str, value: object) -> Tensor:
    """The value as a floating tensor, or a ValueError that names it if it holds nan or inf."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name}={value!r} is not allowed; it must be an array of numbers"
        ) from None
    tensor = tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
    if not bool(torch.isfinite(tensor).all()):
        bad = tensor[~torch.isfinite(tensor)][0].item()
        raise ValueError(f"{name} holds {bad}; its entries must be finite")
    return tensor


def check_inputs(a0: Tensor, active: Tensor, *, T: int, d: int, dtype: torch.dtype) -> None:
    """Raise ValueError unless a0 (batch, z, d) and active (batch, z) fit T circuits of width d."""
    for name, value in (("a0", a0), ("active", active)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}; it must be a torch.Tensor")
    if active.ndim != 2 or active.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"active has shape {tuple(active.shape)} and dtype {active.dtype}; "
            "it must be (batch, z) integers, int32 or int64"
        )
    batch, z = active.shape
    count("batch", batch), count("z", z, high=T)
    if a0.shape != (batch, z, d):
        raise ValueError(
            f"a0 has shape {tuple(a0.shape)}; with active {tuple(active.shape)} "
            f"it must be ({batch}, {z}, {d})"
        )
    if a0.dtype != dtype:
        raise ValueError(f"a0 has dtype {a0.dtype}; it must be the circuits' {dtype}")
    if not (0 <= int(active.min()) and int(active.max()) < T):
        wrong = int(active[(active < 0) | (active >= T)][0])
        raise ValueError(f"active holds circuit {wrong}; circuits are 0..{T - 1}")
    ordered = active.sort(1).values
    twice = ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]]
    if len(twice):
        raise ValueError(
            f"active holds circuit {int(twice[0])} twice in a row; each may be on once"
        )


def _angles(T: int | None, theta: object, rng: Seed) -> Tensor:
    """Angles in float64 of shape (T,) or (L, T): the given ones, checked, or T drawn ones."""
    if theta is None:
        if T is None:
            raise ValueError("T=None and theta=None; give the number of circuits or their angles")
        return torch.from_numpy(np.random.default_rng(rng).uniform(0, 2 * np.pi, count("T", T)))
    angles = finite("theta", theta).double()
    if angles.ndim not in (1, 2) or 0 in angles.shape or T not in (None, angles.shape[-1]):
        wanted = "(T,) or (L, T)" if T is None else f"({T},) or (L, {T})"
        raise ValueError(f"theta has shape {tuple(angles.shape)}; it must be {wanted}")
    return angles


def _matrices(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
