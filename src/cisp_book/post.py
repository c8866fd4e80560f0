"""What the post predicts for the rows of a table of errors."""

import pandas as pd

from cisp import theory

FORMULAS = {
    ("indicator", "inactive"): theory.mse_indicator_inactive,
    ("rotation", "inactive"): theory.mse_rotation_inactive,
    ("rotation", "active"): theory.mse_rotation_active,
    ("indicator", "active"): theory.mse_indicator_active,
}


def predicted(table: pd.DataFrame, *, d: int, S: int) -> list[float]:
    """The post's mean squared error for each row's quantity, circuits, T, D, z and layer."""
    rows = table[["quantity", "circuits", "T", "D", "z", "layer"]].itertuples(index=False)
    return [
        FORMULAS[quantity, circuits](T=T, D=D, d=d, S=S, z=z, layer=layer)
        for quantity, circuits, T, D, z, layer in rows
    ]
