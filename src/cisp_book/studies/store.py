"""Toy models of superposition, trained: what is stored, over sparsity, importance and seeds."""

from typing import cast

import numpy as np
import pandas as pd
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from cisp.neighbours import store
from cisp_book.kept import kept
from cisp_book.studies.apart import each_once

PENTAGONS = [*(20.0 ** -np.linspace(0, 1, 10)).round(4).tolist(), 0.01]  # the original's, and one
BASICS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
GRID = np.geomspace(1, 0.01, 9).round(4).tolist(), np.geomspace(0.1, 10, 9).round(4).tolist()
UNIFORM = sorted(
    [*np.geomspace(1, 0.01, 13).round(4), 0.6, 0.55, 0.4, 0.27, 0.24, 0.19], reverse=True
)
DOUBLE = 0.3162, 0.0681, 0.0147
RATIOS = np.geomspace(0.2, 1, 9).round(3).tolist()
STORED = 0.5  # norm from which on a feature counts as stored


def trained(
    p: Tensor, D: int, importance: Tensor, *, steps: int, rng: int, batch: int = 256
) -> tuple[Tensor, Tensor]:
    """W and b of the ReLU-output model, each row of p one, from Xavier weights and no bias."""
    k, T = p.shape
    begun = store.start(k, D, T, rng=[rng, 1]), torch.zeros(k, T)
    found = store.learn(
        store.stored, begun, p=p, importance=importance, steps=steps, batch=batch, rng=[rng, 2]
    )
    return cast(tuple[Tensor, Tensor], found)


def judged(weights: tuple[Tensor, ...], p: Tensor, importance: Tensor, batch: int = 4096) -> Tensor:
    """The loss of every model, on inputs of one seed."""
    x = store.inputs(p, batch=batch, rng=7)
    return store.loss(store.stored, weights, x, p=p, importance=importance)


def shape(W: Tensor) -> tuple[int, str]:
    """How many of the features in the plane are stored, and as what."""
    W = W[:, W.norm(dim=0) > STORED]
    angle = np.sort(np.degrees(np.arctan2(*W.numpy())))
    gaps = np.diff(np.r_[angle, angle[:1] + 360])
    least, most, found = gaps.min(initial=360), gaps.max(initial=0), len(angle)
    named = {
        5: "pentagon" if least > 50 else "",
        4: "two digons" if least > 70 else "",
        3: "triangle" if most < 150 else "digon and axis" if least > 70 else "",
        2: "two axes" if 60 < least < 120 else "",
    }
    return found, named.get(found) or "other"


def pentagons(p: float, seeds: int, code: str) -> pd.DataFrame:
    """Five features in the plane, importance 0.9^t. `code` tells other sources apart."""
    density, importance = torch.full((seeds, 5), p), 0.9 ** torch.arange(5.0).unsqueeze(0)
    W, b = trained(density, 2, importance, steps=2000, rng=0)
    lost = judged((W, b), density, importance) / p
    on = W.norm(dim=1) > STORED
    size, bias = ((v * on).sum(1) / on.sum(1) for v in (W.square().sum(1), b))
    shapes = [shape(each) for each in W]
    columns = {"stored": [s for s, _ in shapes], "shape": [s for _, s in shapes]}
    found = pd.DataFrame({"p": p, "seed": range(seeds), **columns, "loss": lost})
    return found.assign(size=size, bias=bias)


def basics(p: float, seeds: int, code: str) -> pd.DataFrame:
    """20 features in 5 dimensions, importance 0.7^t, with the ReLU and without."""
    density, importance = torch.full((seeds, 20), p), 0.7 ** torch.arange(20.0).unsqueeze(0)
    rows = []
    for name, model in (("ReLU", store.stored), ("linear", store.stored_linearly)):
        begun = store.start(seeds, 5, 20, rng=[3, 1]), torch.zeros(seeds, 20)
        W, b = store.learn(model, begun, p=density, importance=importance, steps=3000, rng=[3, 2])
        size, others = W.norm(dim=1), store.interference(W)
        for seed in range(seeds):
            columns = {"feature": range(20), "size": size[seed], "interference": others[seed]}
            rows.append(pd.DataFrame({"model": name, "p": p, "seed": seed, **columns}))
    return pd.concat(rows)


def phases(T: int, p: float, seeds: int, code: str) -> pd.DataFrame:
    """T features in T - 1 dimensions over the last one's importance: the best of all seeds."""
    importances = GRID[1]
    each = torch.ones(len(importances), T)
    each[:, -1] = torch.tensor(importances)
    importance = each.repeat_interleave(seeds, 0)
    density = torch.full_like(importance, p)
    W, b = trained(density, T - 1, importance, steps=1200, rng=T)
    best = judged((W, b), density, importance).view(-1, seeds).argmin(1)
    best += torch.arange(len(best)) * seeds
    W, b, density = W[best], b[best], density[best]
    lost = judged((W, b), density, each, batch=50_000)
    size, others = W.norm(dim=1)[:, -1], store.interference(W)[:, -1]
    rows = []
    for r in importances:
        law = store.phase_losses(p=p, importance=r)
        if T == 2:
            del law["pair of others"]
        least = min(law, key=lambda name: law[name])
        rows.append({"T": T, "p": p, "importance": r, "theory": least, "law": law[least]})
    return pd.DataFrame(rows).assign(loss=lost, size=size, interference=others)


def pieces(W: Tensor) -> pd.DataFrame:
    """Stored features in groups that do not touch: the size and the dimensions of each's group."""
    share, unit = store.dimensionality(W), torch.nn.functional.normalize(W, dim=0)
    on = (W.norm(dim=0) > STORED).nonzero()[:, 0]
    touch = (unit[:, on].T @ unit[:, on]).abs() > 0.15
    _, group = connected_components(touch.numpy())
    rows = []
    for number in np.unique(group):
        members = on[torch.tensor(group == number)]
        rank = int(torch.linalg.matrix_rank(unit[:, members], atol=0.3, rtol=0))
        rows += [
            {"share": round(s, 2), "features": len(members), "dimensions": rank}
            for s in share[members].tolist()
        ]
    columns = ["share", "features", "dimensions"]
    return pd.DataFrame(rows, columns=columns).value_counts().reset_index(name="count")


def uniform(T: int, p: float, seeds: int, code: str) -> pd.DataFrame:
    """T alike features in 30 dimensions: shares of a dimension, rounded, and D / |W|^2."""
    density = torch.full((seeds, T), p)
    W, _ = trained(density, 30, torch.ones(1, T), steps=3000, rng=T)
    each = 30 / W.square().sum((1, 2))
    tables = [
        pieces(W[k]).assign(T=T, p=p, seed=k, per_feature=float(each[k])) for k in range(seeds)
    ]
    return pd.concat(tables)


def perturbed(seed: int, code: str) -> pd.DataFrame:
    """Five alike features at p = 0.05 but one sparser: losses from a pentagon and two digons."""
    turn = 2 * torch.pi * torch.arange(5.0) / 5
    pentagon = 1.15 * torch.stack([turn.cos(), turn.sin()])
    digons = torch.tensor([[0, 1.0, 0, -1, 0], [0, 0, 1, 0, -1]])
    W = torch.stack([pentagon, digons]).repeat(len(RATIOS), 1, 1)
    p = torch.full((len(W), 5), 0.05)
    p[:, 0] *= torch.tensor(RATIOS).repeat_interleave(2)
    b, one = torch.tensor([-0.25, 0]).repeat(len(RATIOS))[:, None].expand(-1, 5), torch.ones(1, 5)
    found = store.learn(
        store.stored, (W, b), p=p, importance=one, steps=1500, rate=3e-3, rng=[seed, 3]
    )
    lost = judged(found, p, one, batch=100_000).view(-1, 2).numpy()
    shapes = np.array([shape(each)[1] for each in found[0]]).reshape(-1, 2)
    columns = {"pentagon": lost[:, 0], "digons": lost[:, 1], "kept": shapes[:, 0]}
    return pd.DataFrame({"seed": seed, "ratio": RATIOS, **columns, "kept digons": shapes[:, 1]})


def all_pentagons(seeds: int) -> pd.DataFrame:
    """Every density."""
    return each_once(pentagons, [(p, seeds) for p in PENTAGONS], "")


def all_basics(seeds: int) -> pd.DataFrame:
    """Every density."""
    return each_once(basics, [(p, seeds) for p in BASICS], "")


def all_phases(seeds: int) -> pd.DataFrame:
    """Both diagrams, every density."""
    return each_once(phases, [(T, p, seeds) for T in (2, 3) for p in GRID[0]], "")


def all_uniform(seeds: int) -> pd.DataFrame:
    """Every density, and some of them with twice as many features."""
    cells = [(200, float(p), seeds) for p in UNIFORM] + [(400, p, 1) for p in DOUBLE]
    return each_once(uniform, cells, "")


def all_perturbed(seeds: int) -> pd.DataFrame:
    """Every seed."""
    return each_once(perturbed, [(seed,) for seed in range(seeds)], "")


def store_pentagons() -> pd.DataFrame:
    """Five features in the plane, over sparsity."""
    return kept("store_pentagons", all_pentagons, long="five minutes", seeds=100)


def store_basics() -> pd.DataFrame:
    """20 features in 5 dimensions, over sparsity."""
    return kept("store_basics", all_basics, long="two minutes", seeds=5)


def store_phases() -> pd.DataFrame:
    """The phase diagrams of one feature too many."""
    return kept("store_phases", all_phases, long="four minutes", seeds=10)


def store_uniform() -> pd.DataFrame:
    """Many alike features in 30 dimensions."""
    return kept("store_uniform", all_uniform, long="ten minutes", seeds=2)


def store_perturbed() -> pd.DataFrame:
    """The pentagon against two digons, one feature sparser."""
    return kept("store_perturbed", all_perturbed, long="a minute", seeds=3)


def hexagons(p: float, seeds: int, code: str) -> pd.DataFrame:
    """Six alike features in the plane: whether all are stored, no two within 45 degrees."""
    density, one = torch.full((seeds, 6), p), torch.ones(1, 6)
    W, b = trained(density, 2, one, steps=1500, rng=6)
    angle = torch.rad2deg(torch.atan2(W[:, 0], W[:, 1])).sort(1).values
    gaps = torch.cat([angle, angle[:, :1] + 360], 1).diff(dim=1)
    six = (gaps > 45).all(1) & (W.norm(dim=1) > STORED).all(1)
    return pd.DataFrame({"p": p, "six": six, "loss": judged((W, b), density, one) / p})


def all_hexagons(seeds: int) -> pd.DataFrame:
    """Two densities."""
    return each_once(hexagons, [(p, seeds) for p in (0.05, 0.01)], "")


def store_hexagons() -> pd.DataFrame:
    """Six features in the plane."""
    return kept("store_hexagons", all_hexagons, long="a minute", seeds=40)
