"""Two truths, two verdicts: autoencoders with more latents for each circuit, by both.

Layer 1 of the post's bed, TopK autoencoders with as many latents as circuits, of which one fires
for each active circuit, or with four times as many, of which one, two or four do.
"""

import numpy as np
import pandas as pd

from cisp.digest import digest
from cisp.testbed import scores
from cisp_book.apart import autoencoder
from cisp_book.kept import kept
from cisp_book.studies.apart import (
    CIRCUITS,
    DESCENT,
    MANY,
    NETWORKS,
    TUNED,
    bed_drawn,
    each_once,
    latents_scored,
)

SIZES_TRIED = ((CIRCUITS, 1), (MANY, 1), (MANY, 2), (MANY, 4))


def bed_by_two_truths(name: str, seed: int, code: str) -> pd.DataFrame:
    """Autoencoders of one network's first layer, by direction and by subspace."""
    bed, A, test = bed_drawn(name, seed)
    rows = []
    for K, each in SIZES_TRIED:
        rng, rate = np.random.default_rng([seed, 6]), TUNED["TopK"]["lr"]
        found = autoencoder(A[1], K=K, k=2 * each, steps=DESCENT, lr=rate, rng=rng)
        true = bed.subspaces(1)
        whole = scores.of_subspaces(true, scores.gathered(true, found.decoder))
        rows.append({"K": K, "each": each} | latents_scored(bed, 1, found, test, 1) | whole)
    return pd.DataFrame(rows).assign(bed=name, seed=seed)


def all_by_two_truths(methods: str) -> pd.DataFrame:
    """Five networks of the post's bed."""
    cells = [("post's", seed) for seed in range(NETWORKS)]
    return each_once(bed_by_two_truths, cells, methods)


def apart_truths() -> pd.DataFrame:
    """Autoencoders of several sizes by both truths; three minutes."""
    return kept(
        "apart_truths", all_by_two_truths, long="three minutes", methods=digest(autoencoder)
    )
