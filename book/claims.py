"""Numbers in prose: checked where they are computed, then glued for sentences to cite."""

import numpy as np
from myst_nb import glue


def claim(key: str, value: float, low: float, high: float, digits: int = 3) -> None:
    """Check low <= value <= high, print it, and glue it under `key`, floats rounded."""
    if not low <= value <= high:
        raise AssertionError(f"{key}={value} is outside {low}..{high}, which the text relies on")
    shown = int(value) if isinstance(value, int | np.integer) else float(f"{value:.{digits}g}")
    shown = int(shown) if abs(shown) >= 10 ** (digits - 1) else shown  # 57, not 57.0
    print(f"{key} = {shown}")
    glue(key, shown, display=False)
