"""Whether transcoders tell a circuit's way through the layers, A to B to C, or rewrite it A to C.

Transcoders read layers 1 to 3 and write layers 2 to 4, for each layer alone or across layers. Then
one of two active circuits is cut off from layer 2 on: the activations of layers 2 and 3 are those
without it, of layer 1 those with it. In the network nothing of it is left in layer 4.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import cisp
from cisp.digest import digest
from cisp_book.apart import Replacement, replaced
from cisp_book.kept import kept
from cisp_book.studies.apart import (
    BEDS,
    CIRCUITS,
    DESCENT,
    NETWORKS,
    TESTED_ON,
    bed_drawn,
    each_once,
)

FEW, RATE = 2 * CIRCUITS, 6e-3  # latents in each layer; learning rate
REACH = {"per layer": 1, "across layers": 3}
CUT = (("extrinsic", 3),)  # bed, latents for each active circuit


def with_and_without(bed: cisp.Testbed, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Layers 1 to 4 with two active circuits, without the first of them, and which that is."""
    active, a0, _ = bed.inputs(batch=TESTED_ON, rng=rng)
    without = a0 * torch.tensor([0.0, 1.0]).unsqueeze(1)
    with torch.no_grad():
        A, less = (bed.network(bed.network.embed(a, active)).flatten(2) for a in (a0, without))
    return A[1:5], less[1:5], active[:, 0]


def survival(found: Replacement, A: Tensor, less: Tensor, to: Tensor) -> dict[str, float]:
    """What is left in the last layer, along each input's direction `to`, of a circuit cut off.

    direct: what latents that read the layer before wrote of it before the cut.
    """
    cut = torch.cat([A[:1], less[1:]])
    whole, after, none = (found.parts(found.encode(X[:-1]))[:, -1] for X in (A, cut, less))
    along = [((x - none) * to).sum(2).sum(1) for x in (whole, after)]  # by the layer that is read
    return {
        "direct": float(along[0][-1] / along[0].sum()),
        "survives": float(along[1].sum() / along[0].sum()),
    }


def bed_rewritten(name: str, each: int, seed: int, code: str) -> pd.DataFrame:
    """Transcoders of one network of a bed: how well they explain, and what they say of a cut."""
    bed, learnt, _ = bed_drawn(name, seed)
    A, less, who = with_and_without(bed, np.random.default_rng([seed, 3]))
    to, rows = bed.directions(4)[who], []
    for kind, reach in REACH.items():
        rng, k = np.random.default_rng([seed, 4]), each * BEDS[name][1]
        options: dict[str, Any] = {"K": FEW, "k": k, "steps": DESCENT, "lr": RATE}
        found = replaced(learnt[1:5], reach=reach, rng=rng, **options)
        h = found.encode(A[:-1])
        made = found.parts(h).sum(0) + found.mean.unsqueeze(1)
        left = (made - A[1:]).square().sum((1, 2))
        explained = 1 - left / (A[1:] - A[1:].mean(1, keepdim=True)).square().sum((1, 2))
        row = {"bed": name, "each": each, "seed": seed, "kind": kind}
        row |= {
            f"explained {layer}": float(v) for layer, v in zip((2, 3, 4), explained, strict=True)
        }
        fire = {f"fire {r + 1}": float((h[r] != 0).sum(1).double().mean()) for r in range(3)}
        rows.append(row | fire | survival(found, A, less, to))
    return pd.DataFrame(rows)


def all_rewritten(methods: str) -> pd.DataFrame:
    """Each bed and budget, per layer and across, five networks."""
    cells = [(name, each, seed) for name, each in CUT for seed in range(NETWORKS)]
    return each_once(bed_rewritten, cells, methods)


def apart_rewritten() -> pd.DataFrame:
    """Transcoders per layer and across layers; five minutes."""
    return kept("apart_rewritten", all_rewritten, long="five minutes", methods=digest(replaced))
