"""The networks that compute all circuits at once: the post's, and one that does not seize."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cisp.allocation import Table, check_table, prime_steps
from cisp.arguments import count, positions
from cisp.circuits import Seed, SmallCircuits
from cisp.designs import transversal_design
from cisp.network import Network
from cisp.silence import check_silence
from cisp.wiring import Dealt, Extrinsic


def superpose(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    L: int | None = None,
    rng: Seed = 0,
    allocate: Callable[..., Table] = prime_steps,
    w_mean: Tensor | None = None,
    max_overlap: int | float = 1,
) -> Network:
    """The network of width D that computes all circuits, each neuron spread over S positions.

    Section 5.4. `allocate(T=, n=, S=)` gives a table of positions with n = D/d; each layer deals
    the circuits over it afresh. chi balances each layer's embedding matrix (5.24). w_mean is the
    mean split off in 5.20: the sample mean of 5.18 unless given (the post's code gives the mean
    over all angles).

    Raises ValueError if d does not divide D, if S > n, if the allocation cannot place T circuits or
    lets two of them share more than max_overlap positions, or if no chi balances a layer.

    >>> from cisp import conditional_rotations
    >>> network = superpose(conditional_rotations(T=20), D=100, S=3, L=2)
    >>> tuple(network.W(2).shape)
    (100, 100)
    """
    circuits = circuits.with_layers(circuits.L if L is None else L)
    n, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=max_overlap)
    rng = np.random.default_rng(rng)
    tables = np.stack([table[rng.permutation(circuits.T)] for _ in range(circuits.L)])
    return Network(circuits, Dealt(torch.from_numpy(tables), n=n), w_mean)


def superpose_extrinsic(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    L: int | None = None,
    rng: Seed = 0,
    allocate: Callable[..., Table] = transversal_design,
    w_mean: Tensor | None = None,
) -> Network:
    """The network of width D that computes any one circuit exactly, each neuron on S positions.

    Beyond the post. Every layer has the same table, W_emb is the identity, and a circuit reaches a
    position from its other S - 1 positions only:

        W^l = w_mean (x) 1 + 1/(S-1) sum_t Delta w_t (x) (|e_t><e_t| - diag e_t),   l >= 2.

    w_mean is the sample mean of 5.18 unless given; any other is as exact, since Delta w_t is the
    rest. With v alone active and at most one position shared by two circuits, a position p of v
    receives w_mean a_v + Delta w_v a_v = w_v a_v, exactly: another circuit through p has all its
    other positions outside v, where nothing is on. And nothing is on there as long as the bias
    outweighs what leaks: a position outside v receives Delta w_t a_v / (S-1) from each circuit t
    through it that meets v, of which there are at most S (S-1 in a transversal design of at most
    q^2 circuits).

    Raises ValueError as `superpose` does, if S = 1, and if a neuron outside a circuit wakes when it
    runs alone (`check_silence`).

    >>> from cisp import conditional_rotations
    >>> network = superpose_extrinsic(conditional_rotations(T=20, bias=2), D=100, S=3, L=2)
    >>> tuple(network.W(2).shape)
    (100, 100)
    """
    count("S", S, low=2)
    circuits = circuits.with_layers(circuits.L if L is None else L)
    n, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=1)
    rng = np.random.default_rng(rng)
    tables = torch.from_numpy(table[rng.permutation(circuits.T)]).repeat(circuits.L, 1, 1)
    network = Network(circuits, Extrinsic(tables, n=n), w_mean)
    check_silence(network, rng)
    return network


def place(
    circuits: SmallCircuits,
    *,
    D: int,
    S: int,
    allocate: Callable[..., Table],
    max_overlap: int | float,
) -> tuple[int, Table]:
    """n = D/d and the allocation's table, checked."""
    T, n = circuits.T, positions(D, circuits.d)
    table = check_table(allocate(T=T, n=n, S=count("S", S, high=n)), n=n, max_overlap=max_overlap)
    if table.shape != (T, S):
        raise ValueError(f"allocate gave a table of shape {table.shape}; it must be ({T}, {S})")
    return n, table
