"""Where the inputs of circuits come from: samples, or a function that draws them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Seed = np.random.Generator | int
Inputs = Tensor | Callable[..., Tensor]


@dataclass(frozen=True)
class Renumbered:
    """A function that draws inputs, for some of the circuits that it knows."""

    inputs: Callable[..., Tensor]
    kept: Tensor

    def __call__(self, batch: int, z: int, active: Tensor, rng: np.random.Generator) -> Tensor:
        """The inputs of these circuits, by the numbers that they had."""
        return self.inputs(batch, z, self.kept[active], rng)


@dataclass(frozen=True)
class _Mapped:
    """A function that draws inputs, and what is made of them."""

    inputs: Callable[..., Tensor]
    offset: Float[Tensor, " d"]
    matrix: Float[Tensor, "d k"]

    def __call__(self, batch: int, z: int, active: Tensor, rng: np.random.Generator) -> Tensor:
        shape = batch, z, self.matrix.shape[1]
        x = draw(self.inputs, shape, active, rng, like=self.matrix)
        return self.offset + x @ self.matrix.T


def mapped(
    inputs: Inputs | None, offset: Float[Tensor, " d"], matrix: Float[Tensor, "d k"]
) -> Inputs | None:
    """The inputs offset + matrix x, for inputs x."""
    if isinstance(inputs, Tensor):
        return offset + inputs @ matrix.T
    return inputs and _Mapped(inputs, offset, matrix)


def draw(
    inputs: Inputs,
    shape: tuple[int, int, int],
    active: Int[Tensor, "batch z"] | None,
    rng: np.random.Generator,
    *,
    like: Tensor,
) -> Tensor:
    """Inputs (batch, z, width) of the active circuits, in the dtype and on the device of `like`."""
    batch, z, _ = shape
    if isinstance(inputs, Tensor):
        chosen = torch.from_numpy(rng.integers(inputs.shape[-2], size=(batch, z))).to(like.device)
        return inputs[chosen] if inputs.ndim == 2 else inputs[_given(active), chosen]
    found = finite("inputs(batch, z, active, rng)", inputs(batch, z, _given(active), rng))
    if found.shape != shape:
        raise ValueError(
            f"inputs(batch, z, active, rng) has shape {tuple(found.shape)}; it must be {shape}"
        )
    return found.to(like)


def samples(inputs: object, w: Tensor, width: int | None = None) -> Inputs | None:
    """The inputs of circuits w, samples checked: (N, width) or (T, N, width), width d if not given.

    Raises ValueError for samples that do not fit.
    """
    if inputs is None or callable(inputs):
        return inputs
    found, T, width = finite("inputs", inputs).to(w), w.shape[-3], width or w.shape[-1]
    fits = found.ndim in (2, 3) and found.shape[-1] == width and 0 not in found.shape
    if not fits or (found.ndim == 3 and len(found) != T):
        raise ValueError(
            f"inputs has shape {tuple(found.shape)}; it must be (N, {width}) or ({T}, N, {width}), "
            "or a function of (batch, z, active, rng)"
        )
    return found


def finite(name: str, value: object) -> Tensor:
    """The value as a floating tensor, or a ValueError that names it if it holds nan or inf."""
    try:
        exact = torch.float64 if isinstance(value, float) else None  # all its digits
        tensor = torch.as_tensor(value, dtype=exact)
    except (TypeError, ValueError, RuntimeError):
        told = repr(value) if len(repr(value)) < 200 else f"a {type(value).__name__}"
        raise ValueError(f"{name}={told} is not allowed; it must be an array of numbers") from None
    tensor = tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
    if not bool(torch.isfinite(tensor).all()):
        bad = tensor[~torch.isfinite(tensor)][0].item()
        raise ValueError(f"{name} holds {bad}; its entries must be finite")
    return tensor


def _given(active: Tensor | None) -> Tensor:
    if active is None:
        raise ValueError("active=None is not allowed; these circuits have inputs of their own")
    return active
