"""Where density evolution is claimed to hold, and how far it may be off there (chapter 11)."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from cisp.allocation import Table
from cisp.theory.evolution.crowd import alike

DOMAIN = {  # what density evolution is claimed for (chapter 11)
    "D/d": (60, np.inf),
    "T": (100, np.inf),
    "the mean load T S d/D": (2, np.inf),
    "T (S d/D)^2": (0, 1),
    "E k^2/E k, of k shared positions,": (1, 1.15),
    "the share of positions in use, z S d/D": (0, 0.25),
    "z": (1, 6),
    "L": (1, 10),
}
EXPLODED = 3.0  # a squared error of unit vectors, from which on those of vectors are not claimed
SPREAD = {  # of layer 2: of measured over predicted, from networks beside those of the book
    ("indicator", "inactive"): 0.06,
    ("rotation", "inactive"): 0.09,
    ("rotation", "active"): 0.09,
}
MET = 0.06  # in layer 1, of vectors, as if rows that share positions met one by one
RARE, STEEP = 0.13, 0.35  # of active indicators: it takes ever fewer inputs as they fail less often


def check_domain(*, T: int, n: float, S: int, z: int, L: int, table: Table | None) -> None:
    """Raises ValueError where density evolution is not claimed to hold."""
    found = {
        "D/d": n,
        "T": T,
        "the mean load T S d/D": T * S / n,
        "T (S d/D)^2": T * (S / n) ** 2,
        "E k^2/E k, of k shared positions,": round(alike(table, int(n)), 6)
        if table is not None
        else 1.0,
        "the share of positions in use, z S d/D": z * S / n,
        "z": z,
        "L": L,
    }
    for name, (low, high) in DOMAIN.items():
        if not low <= found[name] <= high:
            raise ValueError(
                f"{name}={found[name]:g} is outside of what density evolution is claimed for, "
                f"{low:g} to {high:g}; `cisp.measure` a network, or see what `evolve` gives"
            )


def off(
    errors: pd.DataFrame, *, in_use: float, load: float, together: bool
) -> Float[np.ndarray, " rows"]:
    """By how much each error may be off: the truth is within a factor of 1 + off, 19 times of 20.

    Nothing in layer 1 but for vectors whose rows share more than one position, and more from layer
    to layer, most for vectors; more where active circuits use much of the width (`in_use`,
    z S d/D), a position has few circuits (`load`), or rows share more than one position
    (`together`). It was measured on networks inside the domain, and tried on others (chapter 11).
    """
    later = errors.layer.to_numpy() - 2
    kinds = list(zip(errors.quantity, errors.circuits, strict=True))
    spread = np.array([SPREAD.get(kind, 0.0) for kind in kinds])
    rarely = RARE * errors.mse.clip(lower=1e-12).to_numpy() ** -STEEP * (1 + later / 10)
    rate = np.where(errors.quantity == "rotation", 2, 4)  # errors of vectors multiply in a seizure
    found = np.where(spread > 0, spread * (1 + later / rate), rarely)
    found *= 1 + 10 * max(in_use - 0.1, 0) + max(4 - load, 0) + 0.25 * together
    first = np.array([MET if kind[0] == "rotation" and together else 0.0 for kind in kinds])
    return np.where(later < 0, first, found)
