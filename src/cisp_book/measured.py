"""Measurements that more than one chapter makes."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

import cisp


def active_error(
    network: cisp.Network,
    z: int,
    quantity: str | None = None,
    *,
    samples: int | Literal["all"],
    rng: int = 3,
) -> pd.DataFrame:
    """Mean squared and worst error of active circuits by layer; of the last read-out if none given.

    With one active circuit every circuit is run once.
    """
    runs = None if z == 1 else samples
    found = cisp.measure(network, z=z, samples=runs, rng=rng, progress=False).errors
    quantity = quantity or found.quantity.iloc[-1]
    found = cisp.rows(found, quantity=quantity, circuits="active")
    return found.set_index("layer")[["mse", "worst"]]


def dense_error(
    network: cisp.Network,
    W: Mapping[int, Tensor],
    z: int,
    *,
    samples: int,
    rng: int = 3,
    linear: bool = False,
) -> Float[np.ndarray, " L"]:
    """Mean squared error on active vectors by layer, with these dense weights W[2] to W[L].

    linear: no ReLU on the vector neurons of the positions of active circuits.
    """
    active, a0 = network.sample(batch=samples, z=z, rng=rng)
    e = torch.from_numpy(cisp.vectors(network.tables[0], n=network.n))
    free = e[active].any(1, keepdim=True) & torch.tensor([[False], [False], [linear], [linear]])

    def activate(inside: Tensor) -> Tensor:
        return torch.where(free, inside, inside.relu())

    A = cisp.run_dense(network, network.embed(a0, active), W, activate=activate)
    found = cisp.mse_active(network, A, network.circuits.run(a0, active), active)
    return found["rotation"].numpy()


def true_and_read(
    network: cisp.Network,
    A: Float[Tensor, "layers batch d n"],
    a: Float[Tensor, "layers batch z d"],
    active: Int[Tensor, "batch z"],
) -> tuple[Float[np.ndarray, "layers batch 2"], Float[np.ndarray, "layers batch 2"]]:
    """The vectors of each input's first active circuit, and their estimates: none in layer 0."""
    x = network.circuits.quantities(a[:, :, 0])["rotation"]
    x_hat = torch.full_like(x, torch.nan)
    for layer in range(1, network.L + 1):
        x_hat[layer] = cisp.of_active(cisp.estimates(network, A, layer)["rotation"], active)[:, 0]
    return x.numpy(), x_hat.numpy()


def of_random_others(h: Float[np.ndarray, "T T"], z: int) -> float:
    """E of the squared sum of h_tv over z - 1 random others v, exactly over t and all choices."""
    h = h * (1 - np.eye(len(h)))
    T, squares, sums = len(h), (h**2).sum(1), h.sum(1)
    pairs = (sums**2 - squares) / ((T - 1) * (T - 2))
    return float(((z - 1) * squares / (T - 1) + (z - 1) * (z - 2) * pairs).mean())
