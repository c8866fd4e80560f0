"""Small circuits as weights, and the oracle that runs each of them alone (section 5.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp import shapes
from cisp.arguments import DEEPEST, count, generator, instance, room, told
from cisp.files import CIRCUITS, check_digest, read, refused, write
from cisp.inputs import Inputs, Renumbered, Seed, draw, finite, placed, samples

FORMAT = "cisp circuits 1"


@final
@dataclass(frozen=True, eq=False, repr=False)
class SmallCircuits:
    """T circuits a^l = ReLU(w_t^l a^{l-1} + b^l), each d neurons wide and L layers deep.

    Equation 5.1. The bias has no circuit index: all circuits share it in a layer (assumption 4').

    w: (T, d, d) when every layer has the same weights, else (L, T, d, d).
    b: (d,) or (L, d).
    readouts: for each named quantity the (k, d) matrix that reads it from a circuit's activations,
        or (T, k, d) where each circuit has its own.
    theta: the angles of rotation circuits in radians, kept for reference.
    L: layers; read from w or b where they carry a layer axis, else the post's five.
    input_mean (d,), input_map (d, k): an active circuit's input is drawn as
        input_mean + input_map u, with u uniform on the unit sphere of R^k;
        without them, uniform on the unit sphere of R^d.
    inputs: where inputs are drawn from instead: samples (N, d) for all circuits, (T, N, d) for each
        its own, or a function of (batch, z, active, rng) that gives (batch, z, d), with active
        (batch, z) and rng a numpy Generator.

    `len` is T, circuits[3:7] or circuits[[0, 4]] are some of them.

    Raises ValueError for weights, biases or readouts that are not finite or whose shapes disagree.

    >>> circuits = SmallCircuits(w=torch.eye(2).repeat(3, 1, 1), b=-torch.ones(2), L=2)
    >>> circuits.T, circuits.d
    (3, 2)
    """

    w: Tensor
    b: Tensor
    readouts: Mapping[str, Tensor] = field(default_factory=dict)
    theta: Tensor | None = None
    L: int = None  # type: ignore[assignment]  # these three are filled in below
    input_mean: Tensor = None  # type: ignore[assignment]
    input_map: Tensor = None  # type: ignore[assignment]
    inputs: Inputs | None = None

    def __init_subclass__(cls) -> None:
        raise TypeError("SmallCircuits is final; for other inputs give it inputs=")

    def __post_init__(self) -> None:
        w = shapes.same_widths(self.w)
        b = finite("b", self.b, w)
        instance("readouts", self.readouts, Mapping)
        shapes.check_weights(w)
        shapes.check_bias(b, w)
        L = shapes.depth(w, b, self.L)
        readouts = {name: shapes.readout(name, m, w) for name, m in self.readouts.items()}
        mean, spread = shapes.law_of_inputs(self.input_mean, self.input_map, w)
        theta = None if self.theta is None else shapes.angles(self.theta, w, L)
        known = dict(
            theta=theta, w=w, b=b, readouts=readouts, L=L, input_mean=mean, input_map=spread
        )
        known["inputs"] = samples(self.inputs, w)  # type: ignore[assignment]  # one of many kinds
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = ", ".join(f"{name} ({m.shape[-2]})" for name, m in self.readouts.items())
        return (
            f"SmallCircuits(T={self.T}, d={self.d}, L={self.L}, "
            f"read-outs: {names or 'none'}, {str(self.w.dtype).removeprefix('torch.')})"
        )

    def __len__(self) -> int:
        return self.T

    def __getitem__(self, which: int | slice | Sequence[int] | Tensor) -> "SmallCircuits":
        """Some of the circuits, in the order asked for."""
        try:
            kept = torch.atleast_1d(torch.arange(self.T, device="cpu")[which])
        except (IndexError, TypeError, ValueError):
            kept = torch.empty(0, 0)
        if kept.ndim > 1:
            raise IndexError(f"circuits are 0..{self.T - 1}, not {told(which)}") from None
        theta = None if self.theta is None else self.theta[..., kept]
        inputs = self.inputs
        if isinstance(inputs, Tensor):
            inputs = inputs[kept] if inputs.ndim == 3 else inputs
        elif inputs is not None:
            inputs = Renumbered(inputs, kept)
        readouts = {name: m[kept] if m.ndim == 3 else m for name, m in self.readouts.items()}
        w = self.w[..., kept, :, :]
        return replace(self, w=w, theta=theta, inputs=inputs, readouts=readouts)

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
        """The sample mean w-bar of the weights over the T circuits (5.18).

        >>> SmallCircuits(w=torch.tensor([[[1.0]], [[3.0]]]), b=torch.zeros(1)).w_mean.tolist()
        [[2.0]]
        """
        return self.w.mean(-3)

    @property
    def delta_w(self) -> Float[Tensor, "*layers t d d"]:
        """The differences Delta w_t = w_t - w-bar (5.19).

        >>> SmallCircuits(w=torch.tensor([[[1.0]], [[3.0]]]), b=torch.zeros(1)).delta_w.tolist()
        [[[-1.0]], [[1.0]]]
        """
        return self.w - self.w_mean.unsqueeze(-3)

    def at(self, layer: int) -> tuple[Float[Tensor, "t d d"], Float[Tensor, " d"]]:
        """The weights w^l and the bias b^l of layer 1..L.

        >>> circuits = SmallCircuits(w=torch.ones(3, 2, 4, 4), b=torch.zeros(4))
        >>> w, b = circuits.at(layer=3)
        >>> tuple(w.shape), tuple(b.shape)
        ((2, 4, 4), (4,))
        """
        row = count("layer", layer, high=self.L) - 1
        return self.w if self.w.ndim == 3 else self.w[row], self.b if self.b.ndim == 1 else self.b[
            row
        ]

    def to(self, target: torch.dtype | torch.device | str) -> "SmallCircuits":
        """The same circuits in another floating dtype or on another device.

        >>> import cisp
        >>> cisp.conditional_rotations(T=4).to(torch.float64)
        SmallCircuits(T=4, d=4, L=5, read-outs: indicator (1), rotation (2), float64)
        """
        target = placed(target)
        moved = {k: v.to(target) for k, v in vars(self).items() if isinstance(v, Tensor)}
        readouts = {k: m.to(target) for k, m in self.readouts.items()}
        return replace(self, readouts=readouts, **moved)  # type: ignore[arg-type]  # all tensors

    def with_layers(self, L: int) -> "SmallCircuits":
        """The circuits run for L layers; raises if their weights or biases end earlier.

        >>> import cisp
        >>> cisp.conditional_rotations(T=4).with_layers(3)
        SmallCircuits(T=4, d=4, L=3, read-outs: indicator (1), rotation (2), float32)
        """
        fixed = self.w.ndim == 3 and self.b.ndim == 1
        count("L", L, high=DEEPEST if fixed else self.L)
        if fixed:
            return replace(self, L=L)
        w = self.w.expand(self.L, *self.w.shape[-3:])[:L]
        b = self.b if self.b.ndim == 1 else self.b[:L]
        theta = self.theta if self.theta is None or self.theta.ndim == 1 else self.theta[:L]
        return replace(self, L=L, w=w, b=b, theta=theta)

    def quantities(
        self, a: Float[Tensor, "*any d"], active: Int[Tensor, "batch z"] | None = None
    ) -> dict[str, Float[Tensor, "*any _"]]:
        """Each named quantity read from circuit activations a (for rotations 5.5 and 5.6).

        Where circuits have read-outs of their own, a is (*any, T, d), one row for each circuit, or
        (*any, batch, z, d) with the `active` circuits that it is of.

        >>> import cisp
        >>> circuits = cisp.conditional_rotations(T=4)
        >>> a = torch.tensor([1.5, 0.5, 2.0, 1.0])  # on, and x + 1
        >>> {name: x.tolist() for name, x in circuits.quantities(a).items()}
        {'indicator': [1.0], 'rotation': [1.0, 0.0]}
        """
        shapes.check_tensor("a", a, None, self.w.dtype, of="the circuits' ")
        if a.shape[-1:] != (self.d,):
            raise ValueError(f"a has shape {tuple(a.shape)}; it must be (..., {self.d})")
        if active is not None:
            shapes.check_active(active, T=self.T)
        return {name: _read(m, a, active) for name, m in self.readouts.items()}

    def sample_inputs(
        self, *, batch: int, z: int, rng: Seed = 0, active: Int[Tensor, "batch z"] | None = None
    ) -> Float[Tensor, "batch z d"]:
        """Inputs a^0 of z active circuits, drawn as the class says (for rotations 5.4, |x| = 1).

        active: which circuits they are for, needed where these have inputs of their own.

        >>> import cisp
        >>> a0 = cisp.conditional_rotations(T=4).sample_inputs(batch=5, z=2, rng=0)
        >>> tuple(a0.shape)
        (5, 2, 4)
        """
        count("batch", batch), count("z", z, high=self.T)
        room("batch", batch, 4 * batch * z * self.d)
        if active is not None:
            shapes.check_active(active, T=self.T, batch=batch)
        rng = generator(rng)
        if self.inputs is None:
            u = rng.normal(size=(batch, z, self.input_map.shape[1]))
            u /= np.linalg.norm(u, axis=-1, keepdims=True)
            return self.input_mean + torch.from_numpy(u).to(self.w) @ self.input_map.T
        return draw(self.inputs, (batch, z, self.d), active, rng, like=self.w)

    def run(
        self, a0: Float[Tensor, "batch z d"], active: Int[Tensor, "batch z"]
    ) -> Float[Tensor, "layers batch z d"]:
        """Activations a^0..a^L of the active circuits, each run alone: the oracle (5.1).

        >>> import cisp
        >>> quarter = cisp.conditional_rotations(theta=[torch.pi / 2], dtype=torch.float64)
        >>> a0 = torch.tensor([[[1.5, 0.5, 2.0, 1.0]]]).double()  # on, with x = (1, 0)
        >>> a = quarter.run(a0, torch.tensor([[0]]))
        >>> quarter.quantities(a)["rotation"][:, 0, 0].round().int().tolist()
        [[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0], [0, 1]]
        """
        shapes.check_inputs(a0, active, T=self.T, d=self.d, dtype=self.w.dtype)
        a = [a0]
        for layer in range(1, self.L + 1):
            w, b = self.at(layer)
            a.append(torch.relu(torch.einsum("bzij,bzj->bzi", w[active], a[-1]) + b))
        return torch.stack(a)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the circuits to a safetensors file, to be read by `SmallCircuits.load`."""
        if callable(self.inputs):
            raise ValueError("inputs is a function, which no file can hold; give samples instead")
        law = {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}
        own = {f"readout_{k}": m for k, m in enumerate(self.readouts.values())}
        about = {"format": FORMAT, "L": self.L, "readouts": [*self.readouts]}
        write(path, {**law, **own}, about)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "SmallCircuits":
        """The circuits written by `save`, bit for bit. Raises ValueError for any other file.

        >>> import cisp, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cisp.conditional_rotations(T=4).save(f"{folder}/four.safetensors")
        ...     SmallCircuits.load(f"{folder}/four.safetensors")
        SmallCircuits(T=4, d=4, L=5, read-outs: indicator (1), rotation (2), float32)
        """
        tensors, about = read(path, {FORMAT: ()}, what="circuits", size="L")
        with refused(path, "circuits"):
            circuits = circuits_of(tensors, about["readouts"], about["L"])
            check_digest(tensors, about)
        return circuits


def circuits_of(tensors: Mapping[str, Tensor], readouts: Sequence[str], L: int) -> SmallCircuits:
    """The circuits among the tensors of a file, where read-outs have numbers for names."""
    own = {name: tensors[f"readout_{k}"] for k, name in enumerate(readouts)}
    law = {name: tensors[name] for name in (*CIRCUITS, "theta", "inputs") if name in tensors}
    return SmallCircuits(**law, readouts=own, L=L)


def _read(m: Tensor, a: Tensor, active: Tensor | None) -> Tensor:
    if m.ndim == 2:
        return a @ m.T
    if active is None and (a.ndim < 2 or a.shape[-2] != len(m)):
        raise ValueError(
            f"a has shape {tuple(a.shape)}; these circuits have read-outs of their own, so it must "
            f"be (..., {len(m)}, d), or active must say which circuits it is of"
        )
    return torch.einsum("...kd,...d->...k", m if active is None else m[active], a)
