"""What circuits and their inputs must look like, and what is wrong where they do not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cisp.arguments import DEEPEST, a, count, refuse
from cisp.inputs import finite, unit


def same_widths(w: object) -> Tensor:
    """The weights as one tensor, or a ValueError if layers of several widths are given."""
    if isinstance(w, list | tuple):
        shapes = [tuple(getattr(each, "shape", ())) for each in w]
        if len(set(shapes)) > 1:
            raise ValueError(
                f"w has parts of the shapes {', '.join(map(str, shapes[:4]))}; they must be alike "
                "(`gated` takes layers of unequal width)"
            )
        if w and all(isinstance(each, Tensor) for each in w):
            w = torch.stack(list(w))
    return finite("w", w)


def check_weights(w: Tensor) -> None:
    """Raise ValueError unless w is (T, d, d) or (L, T, d, d) and not empty."""
    if w.ndim not in (3, 4) or w.shape[-1] != w.shape[-2] or 0 in w.shape:
        raise ValueError(
            f"w has shape {tuple(w.shape)}; it must be (T, d, d) or (L, T, d, d), none 0"
        )


def check_bias(b: Tensor, w: Tensor) -> None:
    """Raise ValueError unless b is (d,) or (L, d), the same for all circuits (assumption 4')."""
    T, d = w.shape[-3], w.shape[-1]
    if b.ndim == 3 or (b.ndim == 2 and w.ndim == 3 and b.shape[0] == T):
        raise ValueError(
            f"b has shape {tuple(b.shape)}, a bias for each of the {T} circuits; they must "
            f"share one bias vector in a layer (assumption 4'): b must be ({d},) or (L, {d})"
            f"{', the latter with w as (L, T, d, d)' if b.ndim == 2 else ''}"
        )
    if b.ndim not in (1, 2) or b.shape[-1] != d or 0 in b.shape:
        raise ValueError(f"b has shape {tuple(b.shape)}; with d={d} it must be ({d},) or (L, {d})")


def depth(w: Tensor, b: Tensor, L: int | None) -> int:
    """The number of layers: of w and b where they carry a layer axis, else L, else five."""
    depths = [len(x) for x, full in ((w, 4), (b, 2)) if x.ndim == full]
    if len(set(depths)) == 2:
        raise ValueError(f"w has {depths[0]} layers but b has {depths[1]}; they must agree")
    if not depths:
        return count("L", 5 if L is None else L, high=DEEPEST)
    if L not in (None, depths[0]):
        raise ValueError(f"L={L} but the weights or biases are given for {depths[0]} layers")
    return depths[0]


def readout(name: str, value: object, w: Tensor) -> Tensor:
    """The read-out matrix (k, d) or (T, k, d) in the dtype and on the device of w."""
    if not isinstance(name, str):
        refuse("readouts", name, "of names that are words")
    m, (T, d) = finite(f"readouts[{name!r}]", value, w), (w.shape[-3], w.shape[-1])
    own = m.ndim == 3 and len(m) == T
    if not (m.ndim == 2 or own) or m.shape[-1] != d or not m.shape[-2]:
        raise ValueError(
            f"readouts[{name!r}] has shape {tuple(m.shape)}; it must be (k, {d}) or ({T}, k, {d})"
        )
    return m


def law_of_inputs(mean: object, spread: object, w: Tensor) -> tuple[Tensor, Tensor]:
    """input_mean (d,) and input_map (d, k), 0 and the identity where not given."""
    d = w.shape[-1]
    mean = w.new_zeros(d) if mean is None else finite("input_mean", mean, w)
    spread = unit(d, w) if spread is None else finite("input_map", spread, w)
    if mean.shape != (d,) or spread.ndim != 2 or len(spread) != d or not spread.shape[1]:
        raise ValueError(
            f"input_mean has shape {tuple(mean.shape)} and input_map {tuple(spread.shape)}; "
            f"they must be ({d},) and ({d}, k)"
        )
    return mean, spread


def angles(theta: object, w: Tensor, L: int) -> Tensor:
    """The angles (T,) or (L, T) in the dtype and on the device of w."""
    found, T = finite("theta", theta, w), w.shape[-3]
    if found.shape not in ((T,), (L, T)):
        raise ValueError(f"theta has shape {tuple(found.shape)}; it must be ({T},) or ({L}, {T})")
    return found


def check_inputs(a0: Tensor, active: Tensor, *, T: int, d: int, dtype: torch.dtype) -> None:
    """Raise ValueError unless a0 (batch, z, d) and active (batch, z) fit T circuits of width d."""
    check_active(active, T=T)
    if isinstance(a0, Tensor) and a0.shape != (*active.shape, d):
        raise ValueError(
            f"a0 has shape {tuple(a0.shape)}; with active {tuple(active.shape)} "
            f"it must be {(*active.shape, d)}"
        )
    check_tensor("a0", a0, (*active.shape, d), dtype, of="the circuits' ")


def check_active(active: Tensor, *, T: int, batch: int | None = None) -> None:
    """Raise ValueError unless active (batch, z) holds z different of T circuits in each row."""
    check_tensor("active", active, None, None)
    if active.ndim != 2 or active.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"active has shape {tuple(active.shape)} and dtype {active.dtype}; "
            "it must be (batch, z) integers, int32 or int64"
        )
    count("batch of active", active.shape[0]), count("z of active", active.shape[1], high=T)
    if len(active) != (batch or len(active)):
        raise ValueError(f"active has {len(active)} rows; it must have {batch}, one for each input")
    if not (0 <= int(active.min()) and int(active.max()) < T):
        wrong = int(active[(active < 0) | (active >= T)][0])
        raise ValueError(f"active holds circuit {wrong}; circuits are 0..{T - 1}")
    ordered = active.sort(1).values
    twice = ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]]
    if len(twice):
        raise ValueError(
            f"active holds circuit {int(twice[0])} twice in a row; each may be on once"
        )


def check_tensor(
    name: str,
    value: object,
    shape: Sequence[int | str] | None,
    dtype: torch.dtype | None,
    *,
    of: str = "",
) -> None:
    """Raise ValueError unless the value is a tensor of this shape and dtype, None for any.

    A word in a shape stands for any size but 0.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is {a(value)}; it must be a torch.Tensor")
    if shape is not None:
        sizes = zip(value.shape, shape, strict=False)
        fits = all(k > 0 if isinstance(want, str) else k == want for k, want in sizes)
        if value.ndim != len(shape) or not fits:
            wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
            raise ValueError(f"{name} has shape {tuple(value.shape)}; it must be {wanted}")
    if dtype not in (None, value.dtype):
        raise ValueError(f"{name} has dtype {value.dtype}; it must be {of}{dtype}")
