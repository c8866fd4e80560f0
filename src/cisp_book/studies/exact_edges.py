"""Where exactness ends: gates too weak, and circuits that start or stop within the depth."""

from dataclasses import replace

import joblib
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

import cisp
from cisp.counted import least_M
from cisp_book.kept import kept
from cisp_book.studies.exact import BATCH, CORRECT, distances, turning, with_plan

SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1)
WEAK = ((2, 216, 405), (3, 68, 680))  # z, T, D


def weak_gate(share: float, z: int, T: int, D: int, *, L: int) -> dict[str, object]:
    """Errors of vectors over all sets of z, in any layer, with M at a share of the least."""
    circuits = turning(T, L)
    M = share * least_M(circuits, z=z)
    network = cisp.superpose_exact(circuits, D=D, z=z, M=M)
    found = cisp.measure(network, z=z, samples="all", batch=BATCH, progress=False).errors
    found = cisp.rows(found, quantity="rotation").groupby("circuits")[["mse", "worst"]].max()
    return {
        "z": z,
        "T": T,
        "share": share,
        "M": M,
        "mse_active": found.mse["active"],
        "worst_active": found.worst["active"],
        "worst_inactive": found.worst["inactive"],
    }


def all_weak_gates(*, L: int) -> pd.DataFrame:
    """M at several shares of `least_M`, for two and for three active circuits."""
    jobs = [(share, *case) for case in WEAK for share in SHARES]
    one = joblib.delayed(weak_gate)
    return pd.DataFrame(joblib.Parallel(n_jobs=2)(one(*job, L=L) for job in tqdm(jobs)))


def exact_least_M() -> pd.DataFrame:
    """Errors over all sets of z circuits as M falls below `least_M`."""
    return kept("exact_least_M", all_weak_gates, L=4)


def held_at_zero(
    circuits: cisp.SmallCircuits, these: Int[Tensor, " m"], layers: range
) -> cisp.SmallCircuits:
    """The circuits, of which these put out state 0 in these layers while they stay on."""
    w = circuits.w.clone()
    for layer in layers:
        w[layer - 1, these, 2:] = torch.tensor([1.0, -1, 0, 0]).to(w)  # ReLU(alpha - 1)
    return replace(circuits, w=w)


def set_off(
    circuits: cisp.SmallCircuits, these: Int[Tensor, " m"], layer: int
) -> cisp.SmallCircuits:
    """The circuits, of which these put out a state of their own in this layer."""
    w = circuits.w.clone()
    w[layer - 1, these, 2:] = torch.tensor([[2.5, -2.5, 0, 0], [2, -2, 0, 0]]).to(w)
    return replace(circuits, w=w)


def by_weights(change: str, T: int, L: int, layer: int) -> cisp.SmallCircuits:
    """Rotations of which the odd ones stop after a layer, or start in it, at an x of their own."""
    circuits, odd = turning(T, L), torch.arange(1, T, 2)
    if change == "stop":
        return held_at_zero(circuits, odd, range(layer, L + 1))
    return set_off(held_at_zero(circuits, odd, range(1, layer)), odd, layer)


def form_of(circuits: cisp.SmallCircuits, form: str) -> cisp.Network:
    """The counted or the planned network for two active circuits, with the M of the former."""
    table, M = cisp.triangle_free(T=circuits.T, n=81, S=3), least_M(circuits, z=2)
    if form == "planned":
        return with_plan(circuits, 2, table, M)[0]
    return cisp.superpose_exact(circuits, D=405, z=2, M=M)


def halves_at(network: cisp.Network, at: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The dense network up to a layer, and from there on."""
    modules = list(network.to_dense().requires_grad_(False))
    return nn.Sequential(*modules[: 2 * at]), nn.Sequential(*modules[2 * at :])


def taken_out(
    network: cisp.Network, A: Float[Tensor, "batch d n"], active: Int[Tensor, "batch 2"]
) -> Float[Tensor, "batch d n"]:
    """A without the second circuit: its own places emptied, a shared one with a count less."""
    first, second = (
        torch.zeros(len(A), network.n).scatter(1, network.tables[0][active[:, k]], 1.0).bool()
        for k in (0, 1)
    )
    A = A * (first | ~second).unsqueeze(1)
    count = A[:, 0]
    A[:, 0] = torch.where(first & second, count.clamp(max=1), count)
    return A


def by_hand(
    network: cisp.Network,
    a0: Float[Tensor, "batch 2 d"],
    active: Int[Tensor, "batch 2"],
    change: str,
    at: int,
) -> Float[Tensor, "batch d n"]:
    """A^L where the second circuit is taken out after layer `at`, or put in there, ready made."""
    before, after = halves_at(network, at)
    if change == "taken out":
        A = before(network.embed(a0, active).flatten(1)).view(-1, network.d, network.n)
        return after(taken_out(network, A, active).flatten(1)).view_as(A)
    alone = (network.embed(a0[:, k : k + 1], active[:, k : k + 1]) for k in (0, 1))
    A = sum(before(A0.flatten(1)) for A0 in alone)
    return after(A).view(-1, network.d, network.n)


def changing(form: str, change: str, *, T: int, L: int, layer: int) -> list[dict[str, object]]:
    """Errors in the last layer over all pairs of a circuit that stays and one that changes."""
    weights = change in ("stop", "start")
    circuits = by_weights(change, T, L, layer) if weights else turning(T, L)
    network = form_of(circuits, form)
    every = torch.arange(T)
    active = torch.cartesian_prod(every[::2], every[1::2])
    a0 = network.circuits.sample_inputs(batch=len(active), z=2, rng=0)
    a = network.circuits.run(a0, active)[-1]
    if weights:
        A = network(network.embed(a0, active))[-1]
    else:
        A = by_hand(network, a0, active, change, layer + network.L - L)
    if change == "taken out":
        a[:, 1] = 0
    off = distances(network, A, a, active, network.L)
    shared = (network.tables[0][active[:, 0]] == network.tables[0][active[:, 1]]).any(1)
    return [
        {
            "form": form,
            "change": change,
            "circuit": circuit,
            "meet": meet,
            "pairs": int(some.sum()),
            "exact": float((off[some, k] < CORRECT).double().mean()),
            "worst": float(off[some, k].max()),
        }
        for k, circuit in enumerate(("stays", "changes"))
        for meet, some in ((False, ~shared), (True, shared))
    ]


def all_changing(*, T: int, L: int, layer: int) -> pd.DataFrame:
    """Both forms, each change."""
    changes = ("stop", "start", "taken out", "put in")
    jobs = [(form, change) for form in ("counted", "planned") for change in changes]
    one = joblib.delayed(changing)
    runs = joblib.Parallel(n_jobs=2)(one(*job, T=T, L=L, layer=layer) for job in tqdm(jobs))
    return pd.DataFrame([row for run in runs for row in run])


def exact_switching() -> pd.DataFrame:
    """Pairs of which one circuit stops or starts in layer 3: by its weights, or from outside.

    stop: its weights hold its state at 0 from layer 3 on, while it is still counted. start: its
    state is held at 0 before. taken out: after layer 3 its activations are removed by hand. put
    in: after layer 3 the activations that it has alone are added. meet: the two share a position.
    """
    return kept("exact_switching", all_changing, T=216, L=6, layer=3)
