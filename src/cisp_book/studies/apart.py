"""Networks taken apart: what each method of book/apart.py finds, in which bed and layer.

Everything is T=100 circuits in D=400 neurons, five layers, five networks of each bed. The budget of
every method, written down: 16,384 samples; where it descends a gradient, 300 steps of 256 of them;
and four settings, tried once on a sixth network, layer 2 of the post's bed, of which the one with
the best mean of three scores (direction, subspace, F1) is taken. That choice sees the truth, which
no user could; it only helps the methods.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import joblib
import numpy as np
import pandas as pd
from torch import Tensor
from tqdm import tqdm

import cisp
from cisp.digest import digest
from cisp.testbed import scores
from cisp_book.apart import (
    Decomposition,
    Latents,
    autoencoder,
    by_chance,
    clusters,
    decomposed,
    independent,
    principal,
    random,
    singular,
)
from cisp_book.kept import code_of, finished, kept

CIRCUITS, WIDTH = 100, 400
SIZES: dict[str, Any] = {"D": WIDTH, "S": 5, "L": 5}
LEARNT_FROM, DESCENT, NETWORKS, SIXTH = 16_384, 300, 5, 99
TESTED_ON = 4096  # fresh samples on which it is counted what fires
MANY = 4 * CIRCUITS  # latents: as many as all circuits have neurons
SETTINGS = {  # tried for each method
    "TopK": [{"each": k, "lr": lr} for k, lr in product((1, 2), (3e-3, 6e-3))],
    "L1": [{"l1": l1, "lr": lr} for l1, lr in product((0.5, 1.5), (3e-3, 1e-2))],
    "transcoder": [{"each": k, "lr": lr} for k, lr in product((1, 2), (3e-3, 6e-3))],
}

TUNED_BY = "direction, mean best", "subspace, mean best", "activity, F1"
TUNED: dict[str, dict[str, Any]] = {  # the best of them, by `apart_settings`; pieces: of as many
    "TopK": {"each": 1, "lr": 6e-3},
    "L1": {"l1": 0.5, "lr": 3e-3},
    "transcoder": {"each": 1, "lr": 6e-3},
    "pieces": {"price": 1e-2, "lr": 3e-3},
}


def posts_bed(seed: int, **options: Any) -> cisp.Network:
    """The post's network."""
    circuits = cisp.conditional_rotations(T=CIRCUITS, rng=seed)
    return cisp.superpose(circuits, **SIZES | options, rng=100 + seed)


def design_bed(seed: int) -> cisp.Network:
    """The same on a transversal design, whose positions carry the same number of circuits."""
    return posts_bed(seed, allocate=cisp.transversal_design)


def control_bed(seed: int) -> cisp.Network:
    """The same circuits, each in neurons of its own: no superposition."""
    return posts_bed(seed, S=1)


def extrinsic_bed(seed: int) -> cisp.Network:
    """The network of chapter 14, exact for one active circuit, which hardly errs with two."""
    circuits = cisp.loaded_rotations(T=CIRCUITS, rng=seed, bias=3)
    return cisp.superpose_extrinsic(circuits, **SIZES, rng=100 + seed)


BEDS: dict[str, tuple[Callable[[int], cisp.Network], int, tuple[int, ...]]] = {  # z, layers
    "post's": (posts_bed, 2, (1, 2, 3, 4, 5)),
    "post's, design": (design_bed, 2, (1, 2, 3, 4, 5)),
    "extrinsic": (extrinsic_bed, 2, (2,)),
    "side by side": (control_bed, 2, (2,)),
}


def every_method(
    bed: cisp.Testbed, A: Tensor, layer: int, z: int, rng: np.random.Generator
) -> Iterator[tuple[str, Latents, int, int]]:
    """Each method's name, what it found, the layer that it reads, and how many numbers it fits.

    In layer 2 all of them; in others the few that are followed through the layers.
    """
    X, dense, both = A[layer], CIRCUITS * WIDTH, 2 * MANY * WIDTH
    few: dict[str, int] = {"K": CIRCUITS, "k": z}
    best: dict[str, Any] = {"K": MANY, "steps": DESCENT, "rng": rng}
    topk = with_k("TopK", z)
    yield "random", random(X, K=MANY, k=z, rng=rng), layer, 0
    yield "k-means", clusters(X, **few, rng=rng), layer, dense
    yield "ICA", independent(X, **few, rng=rng), layer, 2 * dense
    yield "TopK", autoencoder(X, **topk, **best), layer, both
    yield "TopK, random start", autoencoder(X, **topk, **best, start=by_chance), layer, both
    if layer != 2:
        return
    yield "PCA", principal(X, **few), layer, dense
    yield "SVD of W", singular(bed.network.W(layer), **few), layer, 0
    small = autoencoder(X, **topk, **best | {"K": CIRCUITS})
    yield "TopK, T latents", small, layer, 2 * dense
    yield "L1", autoencoder(X, **TUNED["L1"], **best), layer, both
    across = autoencoder(A[layer - 1], X, **with_k("transcoder", z), **best)
    yield "transcoder", across, layer - 1, both


def with_k(method: str, z: int) -> dict[str, Any]:
    """The best setting of a method, its k for z active circuits."""
    each, lr = TUNED[method].values()
    return {"k": each * z, "lr": lr}


def latents_scored(
    bed: cisp.Testbed, layer: int, found: Latents, test: cisp.testbed.Batch, reads: int
) -> dict[str, float]:
    """Directions and latents against the truth of a layer, on samples that no method has seen."""
    directions = scores.lengths(bed.directions(layer).unsqueeze(2), found.decoder)
    subspaces = scores.lengths(bed.subspaces(layer), found.decoder)
    fires = found.encode(test.activations[reads]) != 0
    each = {
        "direction": scores.of_directions(directions),
        "subspace": scores.of_directions(subspaces),
        "activity": scores.of_activity(test.on(CIRCUITS), fires),
    }
    named = {f"{truth}, {name}": v for truth, of in each.items() for name, v in of.items()}
    return named | {"dead": float((~fires.any(0)).double().mean())}


def bed_drawn(name: str, seed: int) -> tuple[cisp.Testbed, Tensor, cisp.testbed.Batch]:
    """A bed, activations of all its layers to learn from, and a batch to test on."""
    make, z, _ = BEDS[name]
    bed, learnt, tested = cisp.Testbed(make(seed), z=z), *np.random.default_rng(seed).spawn(2)
    A = bed.sample(batch=LEARNT_FROM, rng=learnt).activations
    return bed, A, bed.sample(batch=TESTED_ON, rng=tested)


def bed_taken_apart(name: str, seed: int, code: str) -> pd.DataFrame:
    """All methods in all layers of one network. `code` tells other sources apart."""
    bed, A, test = bed_drawn(name, seed)
    _, z, layers = BEDS[name]
    rows = []
    for layer in layers:
        rng = np.random.default_rng([seed, layer, 2])
        for method, found, reads, fitted in every_method(bed, A, layer, z, rng):
            row = {"bed": name, "layer": layer, "seed": seed, "method": method, "fitted": fitted}
            rows.append(row | latents_scored(bed, layer, found, test, reads))
    return pd.DataFrame(rows)


def each_once(
    one: Callable[..., pd.DataFrame], cells: list[tuple[Any, ...]], methods: str
) -> pd.DataFrame:
    """A table of all cells, those done before found again."""
    code = code_of(one) + methods
    again = finished().cache(one)
    jobs = [joblib.delayed(again)(*each, code) for each in cells]
    done = joblib.Parallel(return_as="generator")(jobs)
    return pd.concat(tqdm(done, total=len(cells)), ignore_index=True)


def methods_code() -> str:
    """A digest of the methods, which `kept` does not look for."""
    return digest(random, principal, independent, clusters, singular, autoencoder, decomposed)


def all_latents(methods: str) -> pd.DataFrame:
    """Scores of each bed, layer, method and seed."""
    return each_once(
        bed_taken_apart, [(name, seed) for name in BEDS for seed in range(NETWORKS)], methods
    )


def all_settings(methods: str) -> pd.DataFrame:
    """Every method's settings on the sixth network, and the score by which one is taken."""
    rows = [
        {"method": method, **setting, "score": setting_scored(method, setting)}
        for method, several in SETTINGS.items()
        for setting in several
    ]
    return pd.DataFrame(rows)


def setting_scored(method: str, setting: dict[str, Any]) -> float:
    """The mean of three scores, by direction, by subspace and by activity."""
    bed, A, test = bed_drawn("post's", SIXTH)
    rng, options = np.random.default_rng(SIXTH), dict(setting)
    if "each" in options:
        options["k"] = BEDS["post's"][1] * options.pop("each")
    reads = 1 if method == "transcoder" else 2
    latents = autoencoder(A[reads], A[2], K=MANY, steps=DESCENT, rng=rng, **options)
    of = latents_scored(bed, 2, latents, test, reads)
    return float(np.mean([of[name] for name in TUNED_BY]))


def layer_in_pieces(
    bed: cisp.Testbed,
    A: Tensor,
    start: tuple[Tensor, Tensor],
    setting: dict[str, Any],
    rng: np.random.Generator,
) -> Decomposition:
    """Layer 2 taken apart into pieces of its weights."""
    W, B = bed.network.W(2), bed.network.B(2)
    return decomposed(W, B, A[1], start, steps=DESCENT, rng=rng, **setting)


def apart_settings() -> pd.DataFrame:
    """What was tried to tune the methods."""
    return kept("apart_settings", all_settings, long="ten minutes", methods=methods_code())


def apart_latents() -> pd.DataFrame:
    """What every method finds in every bed; a quarter of an hour."""
    return kept("apart_latents", all_latents, long="a quarter of an hour", methods=methods_code())
