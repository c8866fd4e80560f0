"""Layer 2 of a network moved on small spheres, and what becomes of all vectors read from layer 5.

T=100 circuits in D=1000 neurons, S=6, two active, three networks of each kind: the post's and the
extrinsic one, each with its step, which removes an indicator below 1/4, and with gain 1 in its
place, a ramp that removes nothing between 0 and 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

import cisp
from cisp.digest import digest
from cisp.neighbours import perturb
from cisp_book.apart import autoencoder
from cisp_book.kept import finished, kept
from cisp_book.networks import unchecked

SIZES: dict[str, Any] = {"D": 1000, "S": 6, "L": 5}
CIRCUITS, ACTIVE, LAYER, LATENTS, LEARNT_FROM, TRIED = 100, 2, 2, 400, 8192, 256
RADII = (
    0.025,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.7,
    1.0,
)  # of the length of one active circuit's activations
ANGLES, CLIMBED, WALK = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90), 64, 60


def posts(seed: int, gain: int) -> cisp.Network:
    """The post's network."""
    circuits = cisp.conditional_rotations(T=CIRCUITS, rng=seed, gain=gain)
    return cisp.superpose(circuits, **SIZES, rng=100 + seed)


def extrinsic(seed: int, gain: int) -> cisp.Network:
    """The extrinsic network of chapter 14."""
    circuits = cisp.loaded_rotations(T=CIRCUITS, rng=seed, gain=gain, bias=3)
    table = cisp.transversal_design(T=CIRCUITS, n=SIZES["D"] // 4, S=SIZES["S"])
    return unchecked(circuits, table, D=SIZES["D"])


BEDS: dict[str, tuple[Callable[[int, int], cisp.Network], int]] = {
    "post's": (posts, 2),
    "post's, no step": (posts, 1),
    "extrinsic": (extrinsic, 2),
    "extrinsic, no step": (extrinsic, 1),
}


def outputs(network: cisp.Network, layer: int) -> perturb.Run:
    """The vectors of all circuits as read from the last layer, from activations of this one."""
    tail = network.to_dense()[2 * layer :].requires_grad_(False)
    return lambda A: cisp.estimates(network, tail(A), network.L)["rotation"]


def one_length(network: cisp.Network, layer: int) -> float:
    """The mean length of the activations of one active circuit."""
    return float(cisp.Testbed(network, z=1, layer=layer).sample().activations.norm(dim=1).mean())


def reads(network: cisp.Network, layer: int) -> Tensor:
    """What each circuit's indicator reads, (T, D) at length 1: a_0 - a_1 on its positions."""
    on = torch.zeros(network.T, network.n).scatter(1, network.tables[layer - 1], 1.0)
    rows = network.circuits.readouts["indicator"][0]
    return torch.nn.functional.normalize((rows[:, None] * on[:, None]).flatten(1), dim=1)


def of_circuits(bed: cisp.Testbed, batch: cisp.testbed.Batch) -> dict[str, Tensor]:
    """Directions that follow from the truth: what circuits write, span, and what reads them."""
    directions, read = bed.directions(), reads(bed.network, LAYER)
    rng = np.random.default_rng(1)
    on = batch.on(CIRCUITS).numpy()
    silent = torch.from_numpy(np.array([rng.choice(np.flatnonzero(~row)) for row in on]))
    return {
        "active": directions[batch.active[:, 0]],
        "inactive": directions[silent],
        "active, read": read[batch.active[:, 0]],
        "inactive, read": read[silent],
        "active, within": perturb.within(spanned(bed, batch), rng=2),
    }


def spanned(bed: cisp.Testbed, batch: cisp.testbed.Batch) -> Tensor:
    """Orthonormal columns (batch, D, r) of what the active circuits of each input span."""
    spans = bed.subspaces()[batch.active].permute(0, 2, 1, 3).flatten(2)
    return torch.linalg.qr(spans).Q


def of_an_autoencoder(X: Tensor, A: Tensor, k: int, seed: int) -> dict[str, Tensor]:
    """What an autoencoder of X, k latents of 400 firing, gets wrong of A; and changes of its code.

    values: each latent that fires is changed by 1 % of a normal number, so that as many fire.
    another: in place of the weakest of them fires one that did not.
    """
    rng = np.random.default_rng(seed)
    sae = autoencoder(X, K=LATENTS, k=k, steps=300, lr=6e-3, rng=rng)
    size = X.square().sum(1).mean().sqrt()
    mean = (X / size - sae.encode(X) @ sae.decoder).mean(0)
    code = sae.encode(A)
    noise = torch.from_numpy(rng.normal(size=code.shape)).float()
    weakest = torch.where(code > 0, code, torch.inf).min(1, keepdim=True)
    fresh = (noise - torch.inf * (code > 0)).argmax(1)
    return {
        "autoencoder": size * (code @ sae.decoder + mean) - A,
        "code, values": (0.01 * noise * code) @ sae.decoder,
        "code, another": sae.decoder[fresh] - sae.decoder[weakest.indices[:, 0]],
    }


def all_directions(bed: cisp.Testbed, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Activations, and the directions in which they are moved."""
    X = bed.sample(batch=LEARNT_FROM, rng=[seed, 1]).activations
    batch, other = (bed.sample(batch=TRIED, rng=[seed, k]) for k in (2, 3))
    A = batch.activations
    sparse = of_an_autoencoder(X, A, 8, seed)
    return A, {
        "isotropic": perturb.isotropic(*A.shape, rng=seed),
        "covariance": perturb.matched(X, len(A), rng=seed),
        "another input": other.activations - A,
        **of_circuits(bed, batch),
        **of_an_autoencoder(X, A, ACTIVE, seed),
        **{f"{name}, k=8": v for name, v in sparse.items() if name != "code, another"},
    }


def moved(name: str, seed: int, methods: str) -> pd.DataFrame:
    """Mean responses of one network by direction and radius."""
    make, gain = BEDS[name]
    bed = cisp.Testbed(make(seed, gain), z=ACTIVE, layer=LAYER)
    run, length = outputs(bed.network, LAYER), one_length(bed.network, LAYER)
    A, directions = all_directions(bed, seed)
    rows = []
    for kind, u in directions.items():
        for radius in RADII:
            found = perturb.response(run, A, u, radius * length).double()
            by = {"response": found.mean().item(), "stderr": found.std().item() / TRIED**0.5}
            rows.append({"kind": kind, "radius": radius, **by})
        size = float(u.norm(dim=1).mean() / length) if "auto" in kind else np.nan
        rows.append({"kind": kind, "radius": np.nan, "size": size})
    return pd.DataFrame(rows).assign(bed=name, seed=seed)


def walked(name: str, seed: int) -> pd.DataFrame:
    """From a circuit's direction to a random one by degrees; and where ascent on the sphere ends.

    write, read: the share of the steepest direction's squared length within what the active
    circuits span, and within what reads their indicators.
    """
    make, gain = BEDS[name]
    bed = cisp.Testbed(make(seed, gain), z=ACTIVE, layer=LAYER)
    run, length = outputs(bed.network, LAYER), one_length(bed.network, LAYER)
    batch = bed.sample(batch=TRIED, rng=[seed, 2])
    A, ends, rows = batch.activations, of_circuits(bed, batch), []
    there = perturb.isotropic(*A.shape, rng=seed)
    for kind in ("active", "inactive", "active, read"):
        for radius in (0.05, 0.3, 0.7):
            for angle in ANGLES:
                u = perturb.great_circle(ends[kind], there, float(np.radians(angle)))
                found = perturb.response(run, A, u, radius * length).mean().item()
                rows.append({"kind": kind, "radius": radius, "angle": angle, "response": found})
    few = cisp.testbed.Batch(*(part[:CLIMBED] for part in batch))
    bases = {
        "write": spanned(bed, few),
        "read": torch.linalg.qr(reads(bed.network, LAYER)[few.active].mT).Q,
    }
    for radius in (0.05, 0.1, 0.3):
        start, how = there[:CLIMBED], {"radius": radius * length}
        u = perturb.steepest(run, few.activations, start=start, steps=WALK, **how)
        top = perturb.response(run, few.activations, u, **how).mean().item()
        shares = {
            key: torch.einsum("bDr,bD->br", Q, u).square().sum(1).mean().item()
            for key, Q in bases.items()
        }
        rows.append({"kind": "steepest", "radius": radius, "response": top, **shares})
    return pd.DataFrame(rows).assign(bed=name, seed=seed)


def every(part: Callable[..., pd.DataFrame], seeds: int, **more: str) -> pd.DataFrame:
    """A part of every network; those finished before are found again."""
    run = finished().cache(part)
    cells = [(name, seed) for name in BEDS for seed in range(seeds)]
    return pd.concat([run(*cell, **more) for cell in tqdm(cells)])


def all_moved(seeds: int, methods: str) -> pd.DataFrame:
    """Responses of every network."""
    return every(moved, seeds, methods=methods)


def all_walked(seeds: int) -> pd.DataFrame:
    """Walks of every network."""
    return every(walked, seeds)


def perturbed_moved() -> pd.DataFrame:
    """Mean responses to moves of layer 2, by network, direction and radius."""
    return kept(
        "perturbed_moved", all_moved, long="six minutes", seeds=3, methods=digest(autoencoder)
    )


def perturbed_walked() -> pd.DataFrame:
    """Responses on the way from a circuit's direction to a random one, and steepest directions."""
    return kept("perturbed_walked", all_walked, long="four minutes", seeds=3)
