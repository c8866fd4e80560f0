"""What could be found at best: who is active, as read by who knows the truth of a layer."""

import numpy as np
import pandas as pd

import cisp
from cisp.digest import digest
from cisp_book.apart import linear, top
from cisp_book.kept import kept
from cisp_book.studies.apart import BEDS, CIRCUITS, NETWORKS, TESTED_ON, each_once, latents_scored


def bed_known(name: str, seed: int, code: str) -> pd.DataFrame:
    """Each layer of one network by its true directions, and by the network's own read-out.

    The z circuits with the largest projection, or indicator, count as active. error: mean squared,
    of vectors of active circuits.
    """
    make, z, layers = BEDS[name]
    bed, rows = cisp.Testbed(make(seed), z=z), []
    test = bed.sample(batch=TESTED_ON, rng=np.random.default_rng([seed, 7]))
    found = cisp.measure(bed.network, z=z, samples=TESTED_ON, rng=seed, progress=False).errors
    error = cisp.rows(found, quantity="rotation", circuits="active").set_index("layer").mse
    for layer in layers:
        directions = bed.directions(layer)
        by_direction = latents_scored(bed, layer, linear(directions, 0, z), test, layer)
        A = test.activations.unflatten(2, (bed.network.d, -1))
        alpha = cisp.estimates(bed.network, A, layer)["indicator"][..., 0]
        on = top(alpha, z) != 0
        by_readout = cisp.testbed.scores.of_activity(test.on(CIRCUITS), on)["F1"]
        F1 = {"by direction": by_direction["activity, F1"], "by read-out": by_readout}
        rows.append({"layer": layer, "error": error[layer]} | F1)
    return pd.DataFrame(rows).assign(bed=name, seed=seed)


def all_known(methods: str) -> pd.DataFrame:
    """The beds that are followed through their layers, five networks."""
    names = [name for name, (_, _, layers) in BEDS.items() if len(layers) > 1]
    cells = [(name, seed) for name in names for seed in range(NETWORKS)]
    return each_once(bed_known, cells, methods)


def apart_known() -> pd.DataFrame:
    """Who is active, by those who know the truth; two minutes."""
    return kept("apart_known", all_known, long="two minutes", methods=digest(linear, top))
