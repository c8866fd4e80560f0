"""Whether training keeps the hand-coded circuits, and whether it finds them from random."""

import pandas as pd
from tqdm import tqdm

from cisp_book.kept import finished, kept
from cisp_book.studies.learning import as_dense, hand_coded, judged, start, train

RUNS = [  # where training starts, what it makes small, and whether every layer is read
    *(
        (begin, loss, False)
        for begin in ("own", "dense", "random")
        for loss in ("MSE", "L4", "active")
    ),
    ("random", "L4", True),
]
RATES = (1e-3, 3e-3, 1e-2)
TUNING = 400  # steps for each rate, on a network of its own
SEEN = (0, 100, 400)  # steps after which a run is judged, beside the last


def history(
    begin: str, loss: str, every_layer: bool, lr: float, seed: int, steps: int, **sizes: int
) -> pd.DataFrame:
    """One run of training, judged as it goes on."""
    network = hand_coded(seed, **sizes)
    model, rows = start(begin, network, seed), []
    for step in train(
        model, network, loss=loss, lr=lr, steps=steps, every_layer=every_layer, rng=seed
    ):
        if step == steps or (step in SEEN and steps > TUNING):
            rows.append({"step": step, **judged(as_dense(model, network), network)})
    keys = dict(start=begin, loss=loss, every_layer=every_layer, lr=lr, seed=seed)
    return pd.DataFrame(rows).assign(**keys)


def trained(*, seeds: int, steps: int, **sizes: int) -> pd.DataFrame:
    """All runs, each kind with the rate that is best in a few steps on another network."""
    run = finished().cache(history)
    tables = []
    for kind in tqdm(RUNS):
        tried = [run(*kind, lr, 1000, TUNING, **sizes) for lr in RATES]
        best = min(tried, key=lambda table: table[kind[1]].fillna(float("inf")).iloc[-1])
        tables += [run(*kind, best.lr.iloc[0], seed, steps, **sizes) for seed in range(seeds)]
    return pd.concat(tables)


def learned() -> pd.DataFrame:
    """Trained networks beside the hand-coded one, by start and loss, over seeds."""
    return kept(
        "learned", trained, long="twenty minutes", seeds=3, steps=1000, T=80, D=160, S=4, L=3
    )
