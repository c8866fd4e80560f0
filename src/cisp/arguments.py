"""The checks that every room shares: each names the argument, its value and what is allowed."""

import os
from collections.abc import Callable, Collection
from math import comb, nan
from typing import NoReturn

import numpy as np

LARGEST = float(np.finfo(float).max)
TOLD = 60  # characters of a value that a refusal shows
MANY = 10**9  # inputs that are run only if their number was given
DEEPEST = 10_000  # layers; each is built, and run one after the other
UNKNOWN = 2**34  # bytes of memory where the system does not say


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise the ValueError that names the argument, its value and what is allowed."""
    plain = ", one of Python's own" if hasattr(value, "dtype") else ""  # np.int16(3) is an integer
    raise ValueError(f"{name}={told(value)} is not allowed; {name} must be {allowed}{plain}")


def told(value: object) -> str:
    """The value on one line, or its kind and shape if it is long."""
    text = " ".join(repr(value).split())
    if len(text) <= TOLD:
        return text
    shape = getattr(value, "shape", None)
    return f"{text[: TOLD - 3]}..." if shape is None else f"{a(value)} of shape {tuple(shape)}"


def a(value: object) -> str:
    """What kind of thing it is, "a Tensor"."""
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def count(name: str, value: object, *, low: int = 1, high: int | None = None) -> int:
    """The integer `value`, or a ValueError that names it and the range low..high.

    Narrower integers than 64 bits are refused, as products of sizes do not fit into them.
    """
    allowed = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, int | np.int64):
        refuse(name, value, allowed)
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}={told(value)} is not allowed; {name} must be {allowed}")
    return int(value)


def positive(name: str, value: object) -> float | int:
    """The value, or a ValueError that names it unless it is positive and finite."""
    found = _real(value)
    if not found > 0:
        refuse(name, value, "a positive number")
    return found


def number(
    name: str, value: object, *, low: float | int = -LARGEST, high: float | int = LARGEST
) -> float | int:
    """The value, or a ValueError that names it unless it is a finite number in low..high."""
    found = _real(value)
    if not low <= found <= high:
        span = f"in {low:g}..{high:g}" if high < LARGEST else f">= {low:g}"
        refuse(name, value, "a finite number" if low == -LARGEST else f"a number {span}")
    return found


def flag(name: str, value: object) -> bool | None:
    """True, False or None, or a ValueError."""
    if value is not None and not isinstance(value, bool):
        refuse(name, value, "True, False or None")
    return value


def generator(rng: object) -> np.random.Generator:
    """The generator of a seed, or the one given; a ValueError for what would not repeat."""
    if isinstance(rng, np.random.Generator):
        return rng
    seeds = rng if isinstance(rng, list | tuple) and rng else [rng]
    if not all(isinstance(k, int | np.int64) and type(k) is not bool and k >= 0 for k in seeds):
        refuse("rng", rng, "a seed, integers >= 0, or a numpy.random.Generator")
    return np.random.default_rng(rng)  # type: ignore[arg-type]  # as just checked


def instance(name: str, value: object, *kinds: type) -> None:
    """Raise ValueError unless the value is of one of the kinds."""
    if not isinstance(value, kinds):
        wanted = " or ".join(a(kind) for kind in kinds)
        raise ValueError(f"{name} is {a(value)}; it must be {wanted}")


def function(name: str, value: object) -> None:
    """Raise ValueError unless the value can be called."""
    if not callable(value):
        refuse(name, value, "a function")


def one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise ValueError unless the value is one of these words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"{name}={told(value)} is not allowed; it must be one of {told(list(allowed))}"
        )


def positions(D: int, d: int) -> int:
    """n = D/d, the positions in a block, or a ValueError if d does not divide D."""
    if count("D", D) % d:
        raise ValueError(
            f"D={D} is not divisible by the circuits' d={d}; D must be a multiple of {d}"
        )
    room("D", D, 8 * (D // d))
    return D // d


def places(n: object) -> int:
    """n, the positions of a block, or a ValueError if a few numbers for each are too many."""
    found = count("n", n)
    room("n", n, 8 * found)
    return found


def all_sets(T: int, z: int) -> int:
    """The number of sets of z circuits, or a ValueError if to run them all would never end."""
    sets = comb(T, count("z", z, high=T))
    if sets > MANY:
        raise ValueError(
            f'samples="all" at z={z} is {sets:,} inputs; it must be at most {MANY:,}, '
            "or samples a number of inputs"
        )
    return sets


def room(name: str, value: object, entries: int) -> None:
    """Raise ValueError if so many numbers of 8 bytes take more than half of the memory."""
    have = memory()
    if 16 * entries > have:
        raise ValueError(
            f"{name}={told(value)} takes {8 * entries / 10**9:.3g} GB of this machine's "
            f"{have / 10**9:.3g}; {name} must be smaller"
        )


def memory() -> int:
    """The machine's memory in bytes."""
    names: Callable[[str], int] | None = getattr(os, "sysconf", None)
    return names("SC_PAGE_SIZE") * names("SC_PHYS_PAGES") if names else UNKNOWN


def _real(value: object) -> float | int:
    """The value if it is a finite number, else nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return nan
    return value if abs(value) <= LARGEST else nan
