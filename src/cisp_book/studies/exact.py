"""The embedding that is exact for every set of z circuits: its sets, its noise, its capacity.

Vectors are rotations in double precision. Layers are the circuits' own: the layer in which a
`planned` network makes its plan is not counted.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Literal

import joblib
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

import cisp
from cisp.allocation import Table
from cisp.counted import least_M, planned
from cisp_book.kept import kept

CASES = [  # z, T, the width allowed, and all sets of up to z or so many random sets of z
    (2, 216, 405, "all"),
    (2, 605, 996, "all"),
    (2, 910, 1000, "all"),
    (3, 68, 680, "all"),
    (3, 488, 2440, 3000),
    (4, 26, 845, "all"),
    (4, 354, 3835, 3000),
]
PRECISIONS = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
NOISE = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
CORRECT = 1e-6  # an error below this is rounding
BATCH = 100  # double precision: what fits the cache

Angles = Float[np.ndarray, "*L T"]
Made = tuple[cisp.Network, float]  # with its M


def turning(T: int, L: int, seed: int = 0) -> cisp.SmallCircuits:
    """T rotations in float64 with fresh angles in each of L layers."""
    theta = np.random.default_rng(seed).uniform(0, 2 * np.pi, (L, T))
    return cisp.conditional_rotations(theta=theta, dtype=torch.float64)


def one_case(z: int, T: int, D: int, samples: int | Literal["all"], *, L: int) -> dict[str, object]:
    """The largest errors of vectors and indicators in any layer."""
    network = cisp.superpose_exact(turning(T, L), D=D, z=z)
    sizes = range(1, z + 1) if samples == "all" else [z]
    runs = [
        cisp.measure(network, z=k, samples=samples, batch=BATCH, progress=False).errors
        for k in sizes
    ]
    worst = pd.concat(runs).groupby("circuits").worst.max()
    return {
        "T": T,
        "D": D,
        "z": z,
        "L": L,
        "drawn": "all" if samples == "all" else "random",
        "sets": sum(int(run.samples.iloc[0]) for run in runs),
        "worst_active": worst["active"],
        "worst_inactive": worst["inactive"],
    }


def all_cases(*, L: int) -> pd.DataFrame:
    """All cases."""
    return pd.DataFrame([one_case(*case, L=L) for case in tqdm(CASES)])


def exact_pairs() -> pd.DataFrame:
    """Largest errors over all sets of up to z circuits, and over random ones; ten layers."""
    return kept("exact_pairs", all_cases, L=10)


def with_plan(circuits: cisp.SmallCircuits, z: int, table: Table, M: float | None = None) -> Made:
    """The planned form for z active circuits, z = 2 too, on any table.

    M is that of rotations unless given: 2 z, as V a + c <= 2 for |x| <= 1.
    """
    M = 2.0 * z if M is None else M
    form, w_mean, counts, flags = planned(circuits, M, z)
    tables = torch.from_numpy(table).repeat(form.L, 1, 1)
    wiring = cisp.Channels(tables, counts, flags, n=int(table.max()) + 1)
    return cisp.Network(form, wiring, w_mean), M


def on_fewest(circuits: cisp.SmallCircuits, z: int) -> Made:
    """The same on as few positions as hold the circuits."""
    T, S = circuits.T, z + 1
    n = next(n for n in range(S, T * S) if cisp.triangle_free_capacity(n=n, S=S) >= T)
    return with_plan(circuits, z, cisp.triangle_free(T=T, n=n, S=S))


def of_counts(theta: Angles, D: int) -> Made:
    """The counted form for two active circuits, in width D, with the least M."""
    circuits = cisp.conditional_rotations(theta=theta, dtype=torch.float64)
    M = least_M(circuits, z=2)
    return cisp.superpose_exact(circuits, D=D, z=2, M=M), M


def of_plan_2(theta: Angles, D: int) -> Made:
    """The planned form for two active circuits, in the width it needs."""
    return on_fewest(cisp.conditional_rotations(theta=theta, dtype=torch.float64), 2)


def of_plan_3(theta: Angles, D: int) -> Made:
    """The planned form for three active circuits, in the width it needs."""
    return on_fewest(cisp.conditional_rotations(theta=theta, dtype=torch.float64), 3)


def of_post(theta: Angles, D: int) -> Made:
    """The post's network in width D."""
    circuits = cisp.conditional_rotations(theta=theta, dtype=torch.float64)
    return cisp.superpose(circuits, D=D, S=6), np.nan


def of_extrinsic(theta: Angles, D: int) -> Made:
    """The extrinsic network in width D, loaded without a fault."""
    circuits = cisp.loaded_rotations(theta=theta, bias=3, dtype=torch.float64)
    return cisp.superpose_extrinsic(circuits, D=D, S=6), np.nan


RIVALS: dict[str, tuple[int, Callable[[Angles, int], Made]]] = {  # how many are exact, and how
    "counted": (2, of_counts),
    "planned, z=2": (2, of_plan_2),
    "planned, z=3": (3, of_plan_3),
    "extrinsic": (1, of_extrinsic),
    "post": (0, of_post),
}


def distances(
    network: cisp.Network,
    A: Float[Tensor, "batch d n"],
    a: Float[Tensor, "batch z d"],
    active: Int[Tensor, "batch z"],
    layer: int,
) -> Float[Tensor, "batch z"]:
    """How far the vectors read of the active circuits are from the true ones."""
    delta = cisp.of_active(network.readout(A, layer), active) - a
    return network.circuits.quantities(delta)["rotation"].norm(dim=-1)


def blurred(dense: nn.Sequential, epsilon: float, rng: np.random.Generator) -> nn.Sequential:
    """A copy of the network with each weight and bias times 1 + epsilon g, g Gaussian."""
    dense = deepcopy(dense)
    for entries in dense.parameters():
        entries.mul_(1 + epsilon * torch.from_numpy(rng.normal(size=entries.shape)))
    return dense


def inexact(
    network: cisp.Network, rng: np.random.Generator
) -> Iterator[tuple[str, float, nn.Sequential]]:
    """The dense network in each precision, and in float64 with noise on weights and biases."""
    dense = network.to_dense().requires_grad_(False)
    for name, dtype in PRECISIONS.items():
        yield name, 0.0, deepcopy(dense).to(dtype)
    for epsilon in NOISE:
        yield "noise", epsilon, blurred(dense, epsilon, rng)


def inexact_errors(
    name: str, seed: int, *, T: int, D: int, L: int, pairs: int
) -> list[dict[str, object]]:
    """Errors of active vectors in the last layer, of one network with every kind of noise."""
    rng = np.random.default_rng([seed, 0])
    theta = np.tile(rng.uniform(0, 2 * np.pi, T), (L, 1))
    network, M = RIVALS[name][1](theta, D)
    ones = torch.arange(T).unsqueeze(1)
    inputs = [(ones, network.circuits.sample_inputs(batch=T, z=1, rng=rng))]
    inputs.append(network.sample(batch=pairs, z=2, rng=rng))
    found = []
    for precision, epsilon, dense in inexact(network, rng):
        for active, a0 in inputs:
            A0 = network.embed(a0, active)
            A = dense(A0.flatten(1).to(next(dense.parameters()))).double().view_as(A0)
            a = network.circuits.run(a0, active)[-1]
            off = distances(network, A, a, active, network.L)
            head = {"network": name, "T": T, "D": network.D, "M": M, "z": active.shape[1]}
            tail = {"mse": float(off.square().mean()), "worst": float(off.max())}
            found.append({**head, "precision": precision, "epsilon": epsilon, **tail})
    return found


def all_inexact(*, T: int, D: int, L: int, pairs: int, seeds: int) -> pd.DataFrame:
    """Mean squared and worst errors over seeds, each with its own angles, inputs and noise."""
    jobs = [(name, seed) for name in RIVALS if name != "planned, z=3" for seed in range(seeds)]
    one = joblib.delayed(inexact_errors)
    runs = joblib.Parallel(n_jobs=2)(one(*job, T=T, D=D, L=L, pairs=pairs) for job in tqdm(jobs))
    table = pd.DataFrame([row for run in runs for row in run])
    keys = ["network", "T", "D", "z", "precision", "epsilon"]
    columns = {"mse": ("mse", "mean"), "mse_stderr": ("mse", "sem"), "worst": ("worst", "max")}
    by = table.groupby(keys, sort=False)
    return by.agg(M=("M", "max"), **columns).reset_index()


def exact_noise() -> pd.DataFrame:
    """Errors of active vectors in layer 5 in each precision and under noise on the weights."""
    return kept("exact_noise", all_inexact, T=557, D=1000, L=5, pairs=2000, seeds=3)


def overfull(name: str, k: int, *, T: int, D: int, L: int, sets: int) -> list[dict[str, object]]:
    """By layer, how the vectors of k active circuits fare."""
    theta = np.random.default_rng(0).uniform(0, 2 * np.pi, (L, T))
    z, make = RIVALS[name]
    network, _ = make(theta, D)
    active, a0 = network.sample(batch=sets, z=k, rng=1)
    last = range(network.L - L + 2, network.L + 1)  # the circuits' layers 2..L
    off = []
    for some in (slice(start, start + BATCH) for start in range(0, sets, BATCH)):
        A = network(network.embed(a0[some], active[some]))
        a = network.circuits.run(a0[some], active[some])
        off.append(torch.stack([distances(network, A[h], a[h], active[some], h) for h in last]))
    head = {"network": name, "T": T, "D": network.D, "z": z, "active": k, "sets": sets}
    return [
        {
            **head,
            "layer": layer,
            "exact": float((e < CORRECT).double().mean()),
            "rms": float(e.square().mean() ** 0.5),
            "worst": float(e.max()),
        }
        for layer, e in enumerate(torch.cat(off, 1), 2)
    ]


def all_overfull(*, T: int, D: int, L: int, sets: int) -> pd.DataFrame:
    """Each network with as many active circuits as it is made for, and up to three more."""
    names = [name for name in RIVALS if name != "post"]
    jobs = [(name, RIVALS[name][0] + more) for name in names for more in range(4)]
    jobs += [("extrinsic", 5), ("extrinsic", 6)]
    one = joblib.delayed(overfull)
    runs = joblib.Parallel(n_jobs=2)(one(*job, T=T, D=D, L=L, sets=sets) for job in tqdm(jobs))
    return pd.DataFrame([row for run in runs for row in run])


def exact_beyond() -> pd.DataFrame:
    """Share of active vectors that are exact with more than z active circuits, rms and worst."""
    return kept("exact_beyond", all_overfull, T=557, D=1000, L=10, sets=500)
