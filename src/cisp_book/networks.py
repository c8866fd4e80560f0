"""Networks that more than one chapter builds."""

from typing import Any

import torch

import cisp
from cisp.allocation import Table


def rotation_network(
    T: int, D: int, seed: int = 0, *, S: int, L: int = 5, **options: Any
) -> cisp.Network:
    """Conditional rotations in superposition, angles and dealing from one seed."""
    circuits = cisp.conditional_rotations(T=T, rng=seed, dtype=torch.float64)
    return cisp.superpose(circuits, D=D, S=S, L=L, rng=100 + seed, **options)


def unchecked(
    circuits: cisp.SmallCircuits, table: Table, *, D: int, w_mean: torch.Tensor | None = None
) -> cisp.Network:
    """The extrinsic network on any table, without the check of `superpose_extrinsic`."""
    tables = torch.from_numpy(table).repeat(circuits.L, 1, 1)
    return cisp.Network(circuits, cisp.Extrinsic(tables, n=D // circuits.d), w_mean)


def on_design(
    circuits: cisp.SmallCircuits, *, D: int, S: int, w_mean: torch.Tensor | None = None
) -> cisp.Network:
    """The extrinsic network on a transversal design, without the check of `superpose_extrinsic`."""
    table = cisp.transversal_design(T=circuits.T, n=D // circuits.d, S=S)
    return unchecked(circuits, table, D=D, w_mean=w_mean)
