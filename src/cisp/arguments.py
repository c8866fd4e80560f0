"""The checks on counts and sizes that every room shares."""

from math import inf
from operator import index


def count(name: str, value: object, *, low: int = 1, high: int | None = None) -> int:
    """The integer `value`, or a ValueError that names it and the range low..high."""
    allowed = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    try:
        number = index(value)  # type: ignore[arg-type]  # the TypeError is the answer
    except TypeError:
        raise ValueError(f"{name}={value!r} is not allowed; {name} must be {allowed}") from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise ValueError(f"{name}={value!r} is not allowed; {name} must be {allowed}")
    return number


def positive(name: str, value: object) -> float | int:
    """The value, or a ValueError that names it unless it is positive and finite."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 < number < inf:
        raise ValueError(f"{name}={value!r} is not allowed; {name} must be a positive number")
    return number


def positions(D: int, d: int) -> int:
    """n = D/d, the positions in a block, or a ValueError if d does not divide D."""
    if count("D", D) % d:
        raise ValueError(
            f"D={D} is not divisible by the circuits' d={d}; D must be a multiple of {d}"
        )
    return D // d
