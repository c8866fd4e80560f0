"""The networks that compute all circuits at once: the post's, and two that do not seize."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cisp.allocation import Table, check_table, prime_steps
from cisp.arguments import count, function, generator, instance, one_of, positions, positive, room
from cisp.channels import Channels
from cisp.circuits import SmallCircuits
from cisp.counted import counted, least_M, planned
from cisp.designs import transversal_design
from cisp.gates import silenced
from cisp.inputs import Seed
from cisp.network import Network
from cisp.silence import check_silence, least_silence
from cisp.triangles import MOST, triangle_free, triangle_free_capacity
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
    circuits = layered(circuits, L)
    n, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=max_overlap)
    rng = generator(rng)
    room("L", circuits.L, circuits.L * (8 * table.size + 8 * n))
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
    silence: Literal["given", "auto"] = "given",
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

    silence: "given" takes the circuits' bias as it is. "auto" gives each neuron, in each layer, the
    least bias that outweighs what leaks (`least_silence`); gates rise with it (`silenced`), which
    costs nothing, as the indicator of a position is at most 1 from layer 2 on.

    Raises ValueError as `superpose` does, if S = 1, and if a neuron outside a circuit wakes when it
    runs alone (`check_silence`); w_mean must not be given with "auto", which changes it.

    >>> from cisp import conditional_rotations
    >>> network = superpose_extrinsic(conditional_rotations(T=20, bias=2), D=100, S=3, L=2)
    >>> tuple(network.W(2).shape)
    (100, 100)
    """
    one_of("silence", silence, ("given", "auto"))
    circuits = layered(circuits, L)
    n, table = place(circuits, D=D, S=S, allocate=allocate, max_overlap=1)
    rng = generator(rng)
    tables = torch.from_numpy(table[rng.permutation(circuits.T)]).repeat(circuits.L, 1, 1)
    wiring, drawn, loudest = Extrinsic(tables, n=n), int(rng.integers(2**32)), None
    if silence == "auto":
        if w_mean is not None:
            raise ValueError('w_mean is given, but silence="auto" changes it; give one of them')
        bias, loudest = least_silence(Network(circuits, wiring), drawn)
        circuits = silenced(circuits, bias)
    network = Network(circuits, wiring, w_mean)
    check_silence(network, drawn, loudest)
    return network


def superpose_exact(
    circuits: SmallCircuits,
    *,
    D: int,
    z: int = 2,
    L: int | None = None,
    rng: Seed = 0,
    M: float | int | None = None,
) -> Network:
    """The network of width at most D that computes every set of up to z circuits exactly.

    Beyond the post. S = z + 1, and the table has no triangles: no three circuits meet pairwise in
    three positions (`triangle_free`). A position knows how many active circuits it has, and hears
    each other position of its circuits in a channel of its own. Where it has one active circuit,
    every other active circuit is heard in at most one channel (else it, and the two circuits
    through which it is heard, were a triangle), so that one of the z channels is clean: it carries
    the circuit's own state alone, and a ReLU lets nothing else pass. Of the S positions of an
    active circuit at least two have no other. Positions off stay at 0 exactly.

    The circuits are gated ones with an "indicator" read-out; the network computes them in counted
    form, one count in place of the indicator's neurons. With d' other neurons it takes 1 + 2 d'
    a position for z = 2 (`counted`), and 1 + z (1 + d') for other z (`planned`), which also has one
    layer more: in layer 2 the positions find their clean channels, and nothing is computed. M is
    how hard a closed channel is held shut, as small as is known to be safe unless given
    (`least_M`). Read-outs take a position that a circuit has for itself, and are not linear.
    `sample` draws inputs, and `circuits` are the circuits in counted form, the oracle.

    Raises ValueError if the circuits are not gated, or if T circuits do not fit.

    >>> from cisp import conditional_rotations
    >>> network = superpose_exact(conditional_rotations(T=6), D=45, L=2)
    >>> network.n, network.d, network.S
    (9, 5, 3)
    """
    circuits = layered(circuits, L)
    T, rng = circuits.T, generator(rng)
    M = least_M(circuits, z=count("z", z, high=T)) if M is None else positive("M", M)
    form, w_mean, counts, flags = counted(circuits, M) if z == 2 else planned(circuits, M, z)
    n = count("D", D, low=form.d, high=form.d * MOST) // form.d
    capacity = triangle_free_capacity(n=n, S=z + 1)
    if capacity < T:
        raise ValueError(
            f"D={D} has {n} positions of {form.d} neurons, for {capacity} circuits at z={z}; "
            f"these are T={T}"
        )
    table = triangle_free(T=T, n=n, S=z + 1)[rng.permutation(T)]
    tables = torch.from_numpy(table).repeat(form.L, 1, 1)
    return Network(form, Channels(tables, counts, flags, n=n), w_mean)


def layered(circuits: SmallCircuits, L: int | None) -> SmallCircuits:
    """The circuits run for L layers, for as many as they have if None."""
    instance("circuits", circuits, SmallCircuits)
    return circuits.with_layers(circuits.L if L is None else L)


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
    function("allocate", allocate)
    table = check_table(allocate(T=T, n=n, S=count("S", S, high=n)), n=n, max_overlap=max_overlap)
    if table.shape != (T, S):
        raise ValueError(f"allocate gave a table of shape {table.shape}; it must be ({T}, {S})")
    return n, table
