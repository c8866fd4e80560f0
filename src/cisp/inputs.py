"""Where the inputs of circuits come from: samples, or a function that draws them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cisp.arguments import positive, refuse, told

Seed = np.random.Generator | int | Sequence[int]
Inputs = Tensor | Callable[..., Tensor]
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Renumbered:
    """A function that draws inputs, for some of the circuits that it knows.

    >>> def numbers(batch, z, active, rng):  # each circuit is given its number
    ...     return active.unsqueeze(-1).float()
    >>> some = Renumbered(numbers, kept=torch.tensor([5, 7]))
    >>> some(1, 2, torch.tensor([[1, 0]]), np.random.default_rng(0)).flatten().tolist()
    [7.0, 5.0]
    """

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
    """The inputs offset + matrix x, for inputs x.

    >>> offset, matrix = torch.ones(2), torch.tensor([[1.0], [10.0]])
    >>> mapped(torch.tensor([[2.0], [3.0]]), offset, matrix).tolist()
    [[3.0, 21.0], [4.0, 31.0]]
    """
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
    """Inputs (batch, z, width) of the active circuits, in the dtype and on the device of `like`.

    >>> points = torch.tensor([[0.0, 1], [2, 3], [4, 5]])
    >>> draw(points, (1, 4, 2), None, np.random.default_rng(0), like=points)[0].tolist()
    [[4.0, 5.0], [2.0, 3.0], [2.0, 3.0], [0.0, 1.0]]
    """
    batch, z, _ = shape
    if isinstance(inputs, Tensor):
        chosen = torch.from_numpy(rng.integers(inputs.shape[-2], size=(batch, z))).to(like.device)
        return inputs[chosen] if inputs.ndim == 2 else inputs[_given(active), chosen]
    found = finite("inputs(batch, z, active, rng)", inputs(batch, z, _given(active), rng), like)
    if found.shape != shape:
        raise ValueError(
            f"inputs(batch, z, active, rng) has shape {tuple(found.shape)}; it must be {shape}"
        )
    return found


def samples(inputs: object, w: Tensor, width: int | None = None) -> Inputs | None:
    """The inputs of circuits w, samples checked: (N, width) or (T, N, width), width d if not given.

    Raises ValueError for samples that do not fit.

    >>> w = torch.ones(4, 2, 2)  # four circuits of two neurons
    >>> samples([[0, 1], [1, 0], [1, 1]], w).tolist()
    [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if inputs is None or callable(inputs):
        return inputs
    found, T, width = finite("inputs", inputs, w), w.shape[-3], width or w.shape[-1]
    fits = found.ndim in (2, 3) and found.shape[-1] == width and 0 not in found.shape
    if not fits or (found.ndim == 3 and len(found) != T):
        raise ValueError(
            f"inputs has shape {tuple(found.shape)}; it must be (N, {width}) or ({T}, N, {width}), "
            "or a function of (batch, z, active, rng)"
        )
    return found


def finite(name: str, value: object, like: Tensor | None = None) -> Tensor:
    """The value as a floating tensor, in the dtype and on the device of `like` if it is given.

    Raises ValueError for what is not an array of real numbers, or holds nan or inf.
    """
    if isinstance(value, np.ndarray):
        value = value.copy()  # the owner may change it later; torch takes no negative strides
    try:
        exact = torch.float64 if isinstance(value, float) else None  # all its digits
        if isinstance(value, Tensor):  # which as_tensor would move to the default device
            tensor = value
        else:
            tensor = torch.as_tensor(value, dtype=exact, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        refuse(name, value, "an array of numbers")
    integers = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if not (integers or tensor.dtype in FLOATS) or tensor.layout != torch.strided or tensor.is_meta:
        kind = f"{tensor.dtype} {tensor.layout} on {tensor.device}"
        raise ValueError(f"{name} is {kind}; it must be dense and of real numbers ({_listed()})")
    tensor = tensor.to(torch.get_default_dtype()) if integers else tensor
    found = tensor if like is None else tensor.to(like)
    if not bool(torch.isfinite(found).all()):
        bad = tensor[~torch.isfinite(found).to(tensor.device)][0].item()
        kind = f" in {found.dtype}" if isfinite(bad) else ""
        raise ValueError(f"{name} holds {bad}; its entries must be finite{kind}")
    return found


def unit(size: int, like: Tensor) -> Float[Tensor, "d d"]:
    """The identity, in the dtype and on the device of `like`."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def held(name: str, value: object, dtype: torch.dtype) -> float | int:
    """The positive number, or a ValueError if it is none or the dtype makes it 0 or infinite."""
    number = positive(name, value)
    if not 0 < torch.tensor(float(number), dtype=dtype, device="cpu") < torch.inf:
        refuse(name, value, f"a positive number that {dtype} can hold")
    return number


def floating(dtype: object) -> torch.dtype:
    """The dtype, torch's default one for None, or a ValueError unless it is one of FLOATS."""
    found = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(found, torch.dtype) or found not in FLOATS:
        refuse("dtype", dtype, f"one of {_listed()}")
    return found


def placed(value: object) -> torch.dtype | torch.device:
    """A dtype or a device that circuits can be in or on, or a ValueError."""
    if isinstance(value, torch.dtype):
        if value not in FLOATS:
            raise ValueError(f"target={value} is not allowed; it must be a floating dtype")
        return value
    return device_of("target", value)


def device_of(name: str, value: object) -> torch.device:
    """The device, or a ValueError if torch has none such here."""
    try:
        found = torch.device(value)  # type: ignore[call-overload]  # the error is the answer
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError):
        found = None
    if found is None or found.type == "meta":
        raise ValueError(f"{name}={told(value)} is not allowed; it must be a device torch has here")
    return found


def _listed() -> str:
    return ", ".join(str(each).removeprefix("torch.") for each in FLOATS)


def _given(active: Tensor | None) -> Tensor:
    if active is None:
        raise ValueError("active=None is not allowed; these circuits have inputs of their own")
    return active
