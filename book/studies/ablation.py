"""What each ingredient of density evolution buys: its errors with one left out, kept as a table."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import joblib
import numpy as np
import pandas as pd
from kept import kept
from scipy.stats import binom
from tqdm import tqdm

import cisp
from cisp.crowds import Crowd
from studies.grid import PAIRS, figures_8_to_11

EVERY = [(D, T) for D, Ts in PAIRS.items() for T in Ts]
CELLS = [(*EVERY[5 * k], 1 + k % 4) for k in range(9)]  # every fifth pair, z in turn: D, T, z
SEEN = 1e-3  # the post's indicators of active circuits are exact in cells below

Changes = list[tuple[Any, str, Any]]  # where, which attribute, its new value


def changes() -> dict[str, Changes]:
    """By name, the attributes of the modules that are replaced, with what."""
    crowds, evolution, vectors = (
        sys.modules[f"cisp.{room}"] for room in ("crowds", "density_evolution", "vector_evolution")
    )
    linked, sends, crowd_of = Crowd.linked, evolution._sends, evolution.crowd_of
    first, after = evolution._first, evolution._next
    neurons, square, next_vectors = vectors._neurons, vectors._square, vectors.next_vectors

    def binomial(crowd: Crowd, less: int) -> np.ndarray:
        """Links as independent trials with the same mean."""
        P, h, S = linked(crowd, less), np.arange(crowd.S + 1), crowd.S - less
        p = P @ h / max(S, 1) / np.maximum(P.sum(-1), 1e-300)
        return binom.pmf(h, S, p[..., None].clip(0, 1))

    def louder(crowd: Crowd, *rest: Any) -> np.ndarray:
        """u = (1 + S chi) a + ...: chi M is over the circuit's own positions too."""
        values = (1 + crowd.S * crowd.chi) * crowd.values
        return sends(SimpleNamespace(S=crowd.S, chi=crowd.chi, values=values), *rest)

    def louder_vectors(crowd: Crowd, seen: Any, j: int, a: np.ndarray, *rest: Any) -> list[Any]:
        return neurons(crowd, seen, j, (1 + crowd.S * crowd.chi) * a, *rest)

    def middle(f: Callable[..., Any], at: int) -> Callable[..., Any]:
        """The active circuits' rows are all of the kind that meets most nearly the mean."""

        def changed(crowd: Crowd, *rest: Any) -> Any:
            new = list(rest)
            new[at] = np.full_like(new[at], np.abs(crowd.met - crowd.met.mean()).argmin())
            return f(crowd, *new)

        return changed

    def levels(number: int) -> Changes:
        new: Changes = [(m, "LEVELS", number) for m in (crowds, evolution, vectors)]
        return new + [
            (m, "INDICATORS", np.arange(number + 1) / number) for m in (crowds, evolution)
        ]

    def even_rows(**given: Any) -> Crowd:
        crowd = crowd_of(**given)
        return replace(crowd, spread=0 * crowd.spread)

    def one_kind(**given: Any) -> Crowd:
        crowd = crowd_of(**given)
        rows = {key: getattr(crowd, key).mean(0, keepdims=True) for key in ("mix", "met", "spread")}
        return replace(crowd, **rows)

    return {
        "nothing": [],
        "classes of load, kinds of rows": [(crowds, "CLASSES", 1)],
        "kinds of the active circuits' rows": [
            (evolution, "_first", middle(first, 0)),
            (evolution, "_next", middle(after, 1)),
        ],
        "drawn strength of the noise": [(evolution, "_drawn", lambda noise, slices: noise)],
        "an inactive circuit's own positions": [(Crowd, "linked", lambda c, less: linked(c, 0))],
        "the law of links (binomial)": [(Crowd, "linked", binomial)],
        "the fixed number of links": [(evolution, "_narrowed", lambda law, fewer: law)],
        "uneven loads within a row": [(evolution, "crowd_of", even_rows)],
        "own read-out out of chi M": [
            (evolution, "_sends", louder),
            (vectors, "_neurons", louder_vectors),
        ],
        "a circuit's own vector sent back": [
            (vectors, "_neurons", lambda *a: neurons(*a[:7], 0 * a[7], a[8]))
        ],
        "own noise common to its neurons": [
            (vectors, "_square", lambda *a: square(*a[:4], 0 * a[4]))
        ],
        "shrinking of active vectors": [
            (evolution, "next_vectors", lambda *a: still(next_vectors(*a)))
        ],
        "LEVELS = 16": levels(16),
        "DRAWS = 64": [(evolution, "DRAWS", 64)],
    }


def still(found: Any) -> Any:
    """The vectors, none shrunk."""
    return replace(found, shrunk=0 * found.shrunk)


def one_left_out(name: str, D: int, T: int, z: int, L: int) -> pd.DataFrame:
    """The predicted errors of one cell with one ingredient left out."""
    patches = [patch.object(*change) for change in changes()[name]]
    for each in patches:
        each.start()
    try:
        found = cisp.density_evolution(T=T, D=D, S=6, z=z, L=L).errors
    finally:
        for each in patches:
            each.stop()
    return found.assign(left_out=name, T=T, D=D)


def ablation(*, L: int) -> pd.DataFrame:
    """Measured over predicted in layers from 3 on: its median, its worst, how often near 1."""
    jobs = [(name, *cell, L) for name in changes() for cell in CELLS]
    run = joblib.Parallel(n_jobs=2)
    found = pd.concat(run(joblib.delayed(one_left_out)(*job) for job in tqdm(jobs)))
    keys = ["T", "D", "z", "layer", "quantity", "circuits"]
    both = found.merge(figures_8_to_11(), on=keys, suffixes=("_predicted", ""))
    exact = (both.quantity == "indicator") & (both.circuits == "active") & (both.mse < SEEN)
    both = both[(both.layer > 2) & ~exact]
    both["off"] = np.log(both.mse / both.mse_predicted)
    by = both.groupby(["left_out", "quantity", "circuits"], sort=False).off
    return by.agg(
        cells="size",
        median=lambda off: np.exp(off.median()),
        worst=lambda off: np.exp(off.iloc[off.abs().argmax()]),
        within_10=lambda off: (off.abs() < np.log(1.1)).mean(),
        within_20=lambda off: (off.abs() < np.log(1.2)).mean(),
    ).reset_index()


def ablations() -> pd.DataFrame:
    """One ingredient left out at a time, or one number of the numerics changed, on 9 cells."""
    return kept("ablation", ablation, L=4)
