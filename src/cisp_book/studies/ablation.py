"""What each ingredient of density evolution buys: its errors with one left out, kept as a table."""

from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.stats import binom
from tqdm import tqdm

from cisp.allocation import Table
from cisp.theory.evolution import Ingredients, evolve
from cisp.theory.evolution.active import Sets, sets_of
from cisp.theory.evolution.crowd import Array, Crowd, linked
from cisp_book.kept import kept
from cisp_book.studies.grid import PAIRS, figures_8_to_11

EVERY = [(D, T) for D, Ts in PAIRS.items() for T in Ts]
CELLS = [(*EVERY[5 * k], 1 + k % 4) for k in range(9)]  # every fifth pair, z in turn: D, T, z
SEEN = 1e-3  # the post's indicators of active circuits are exact in cells below


def ingredients() -> dict[str, Ingredients]:
    """By name of what is left out or changed, the ingredients of density evolution."""
    return {
        "nothing": Ingredients(),
        "classes of load, kinds of rows": Ingredients(classes=1),
        "which circuits are active": Ingredients(sets=all_alike),
        "drawn strength of the noise": Ingredients(drawn=alike),
        "positions on together": Ingredients(clumps=0),
        "own noise not heard": Ingredients(own_noise=0),
        "an inactive circuit's own positions": Ingredients(linked=lambda c, less: linked(c, 0)),
        "the law of links (binomial)": Ingredients(linked=binomial),
        "the variance of links": Ingredients(narrowed=lambda law, fewer: law),
        "links in whole rows": Ingredients(rows=0),
        "a circuit hears nobody twice": Ingredients(apart=0),
        "positions of two active circuits": Ingredients(twice=0),
        "uneven loads within a row": Ingredients(linked=even),
        "own read-out out of chi M": Ingredients(own=louder),
        "a circuit's own vector sent back": Ingredients(sent_back=0),
        "Delta w adding up to 0": Ingredients(balanced=0),
        "own noise common to its neurons": Ingredients(common=0),
        "shrinking of active vectors": Ingredients(shrinking=0),
        "LEVELS = 16": Ingredients(levels=16),
        "DRAWS = 128": Ingredients(draws=128),
    }


def all_alike(table: Table, n: int, z: int, draws: int, classes: int) -> Sets:
    """Active circuits that take the same in all draws: the mean over all sets."""
    found = sets_of(table, n, z, draws, classes)
    return replace(found, taken=0 * found.taken + found.taken.mean(0))


def alike(noise: Array, slices: Int[np.ndarray, " r"], clumped: Array) -> Array:
    """The same strength in all draws."""
    return np.ones(len(slices))


def binomial(crowd: Crowd, less: int) -> Array:
    """Links as independent trials with the same mean."""
    P, h, S = linked(crowd, less), np.arange(crowd.S + 1), crowd.S - less
    p = P @ h / max(S, 1) / np.maximum(P.sum(-1), 1e-300)
    return binom.pmf(h, S, p[..., None].clip(0, 1))


def even(crowd: Crowd, less: int) -> Array:
    """Links as if the positions of a row had the same load."""
    return linked(replace(crowd, spread=0 * crowd.spread), less)


def louder(crowd: Crowd, own: Array) -> Array:
    """u = (1 + S chi) a + ...: chi M is over the circuit's own positions too."""
    return (1 + crowd.S * crowd.chi) * own


def one_left_out(name: str, D: int, T: int, z: int, L: int) -> pd.DataFrame:
    """The predicted errors of one cell with one ingredient left out."""
    found = evolve(T=T, D=D, S=6, z=z, L=L, ingredients=ingredients()[name])
    return found.errors.assign(left_out=name, T=T, D=D)


def ablation(*, L: int) -> pd.DataFrame:
    """Measured over predicted in layers from 3 on: its median, its worst, how often near 1."""
    jobs = [(name, *cell, L) for name in ingredients() for cell in CELLS]
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
    return kept("ablation", ablation, long="three minutes", L=4)
