"""Layer 2 of the post's bed taken apart into rank-one pieces of its weights.

From the truth, each circuit's own part in two pieces and the shared part in as many as it has, or
from as many pieces drawn at random; before and after gradient descent. Beside them the pieces of
the singular value decomposition of W.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import cisp
from cisp.digest import digest
from cisp.testbed import scores
from cisp_book.apart import decomposed, pieces_by_chance
from cisp_book.kept import kept
from cisp_book.studies.apart import CIRCUITS, TUNED, bed_drawn, each_once, layer_in_pieces

FEWER = 3  # networks


def true_pieces(bed: cisp.Testbed) -> tuple[Tensor, Tensor]:
    """Pieces of each circuit's own part of layer 2, and of the part that all share."""
    own = bed.components(2)
    factors = [own.factors(t) for t in range(len(own))]
    factors.append(svd_pieces(bed.network.shared(2)))
    return torch.cat([U for U, _ in factors], 1), torch.cat([V for _, V in factors])


def svd_pieces(W: Tensor) -> tuple[Tensor, Tensor]:
    """The pieces of the singular value decomposition of W."""
    u, s, v = torch.linalg.svd(W)
    r = int((s > 1e-4 * s[0]).sum())  # single precision
    return u[:, :r] * s[:r], v[:r]


def pieces_scored(bed: cisp.Testbed, U: Tensor, V: Tensor) -> dict[str, float]:
    """Scores of pieces against the truth of layer 2."""
    table = cisp.recovery(bed, layer=2, pieces=(U, V))
    return {f"{row.truth}, {row.score}": row.value for row in table.itertuples()}


def bed_in_pieces(name: str, seed: int, code: str) -> pd.DataFrame:
    """One network's second layer in pieces, from both starts."""
    bed, A, test = bed_drawn(name, seed)
    W, true = bed.network.W(2), true_pieces(bed)
    rows = [{"start": "SVD of W", "trained": False} | pieces_scored(bed, *svd_pieces(W))]
    rng = np.random.default_rng([seed, 5])
    starts = {"truth": true, "random": pieces_by_chance(W, true[0].shape[1], rng)}
    for start, (U, V) in starts.items():
        rows.append({"start": start, "trained": False} | pieces_scored(bed, U, V))
        found = layer_in_pieces(bed, A, (U, V), TUNED["pieces"], rng)
        g = found.need(test.activations[1])
        F1 = scores.of_activity(test.on(CIRCUITS), g > 0.5)["F1"]
        needed = {"needed": float(g.sum(1).mean()), "F1": F1, "pieces": len(V)}
        row = {"start": start, "trained": True} | pieces_scored(bed, found.U, found.V)
        rows.append(row | needed)
    return pd.DataFrame(rows).assign(bed=name, seed=seed)


def all_in_pieces(methods: str) -> pd.DataFrame:
    """Three networks of the post's bed."""
    return each_once(bed_in_pieces, [("post's", seed) for seed in range(FEWER)], methods)


def apart_pieces() -> pd.DataFrame:
    """Pieces of the weights, from the truth and from chance; five minutes."""
    return kept(
        "apart_pieces",
        all_in_pieces,
        long="five minutes",
        methods=digest(decomposed, pieces_by_chance),
    )
