"""Absolute values computed by fewer neurons than they need: trained from three starts."""

from typing import cast

import pandas as pd
import torch
from kept import kept
from torch import Tensor

from cisp.neighbours import store
from studies.apart import each_once

SMALL = (1.0, 0.3, 0.1, 0.03)
LARGE = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
STARTS = ("random", "random, a tenth", "by hand")
FEATURES, NEURONS = 100, 40
SERVED = 0.5, 1.5  # of 1: what a neuron alone gives to a side of a feature that it serves
Weights = tuple[Tensor, Tensor, Tensor]


def importance() -> Tensor:
    """0.8^t for a hundred features."""
    return 0.8 ** torch.arange(float(FEATURES)).unsqueeze(0)


def by_hand(p: Tensor) -> Weights:
    """The first 20 features by two neurons each, exact; the others at their mean p/2."""
    W_in, b = torch.zeros(len(p), NEURONS, FEATURES), p / 2
    t = torch.arange(NEURONS // 2)
    W_in[:, 2 * t, t], W_in[:, 2 * t + 1, t] = 1, -1
    b[:, t] = 0
    return W_in, W_in.mT.abs(), b


def random(p: Tensor, D: int, rng: int, scale: float = 1) -> Weights:
    """Xavier weights, times a scale, and no bias."""
    k, T = p.shape
    W_in, W_out = store.start(k, D, T, rng=[rng, 1]), store.start(k, T, D, rng=[rng, 2])
    return scale * W_in, scale * W_out, torch.zeros(k, T)


def begun(name: str, p: Tensor, rng: int) -> Weights:
    """One of the three starts; by hand with a little noise, as nothing would leave zeros else."""
    if name != "by hand":
        return random(p, NEURONS, rng, 0.1 if name == "random, a tenth" else 1)
    W_in, W_out, b = by_hand(p)
    noise = random(p, NEURONS, rng, 0.2)
    return W_in + noise[0], W_out + noise[1], b


def judged(weights: Weights, p: Tensor, each: Tensor, batch: int) -> Tensor:
    """The loss of every model over its p, all with the same seed."""
    x = store.inputs(p, batch=batch, rng=7, low=-1)
    return store.loss(store.absolute, weights, x, p=p, importance=each) / p[:, 0]


def small(p: float, seeds: int, code: str) -> pd.DataFrame:
    """Three features of equal importance in six neurons. `code` tells other sources apart."""
    density, one = torch.full((seeds, 3), p), torch.ones(1, 3)
    weights = store.learn(
        store.absolute, random(density, 6, 0), p=density, importance=one, steps=4000,
        batch=128, low=-1, rng=[0, 3],
    )  # fmt: skip
    lost = judged(cast(Weights, weights), density, one, 8192)
    return pd.DataFrame({"p": p, "seed": range(seeds), "loss": lost})


def neurons(weights: tuple[Tensor, ...]) -> pd.DataFrame:
    """Of each neuron, scaled to weights of 1 at most: what it holds, and the two it serves best."""
    W_in, W_out = weights[0], weights[1].T
    most = W_in.abs().amax(1, keepdim=True)
    W_in, W_out = W_in / most, W_out * most
    given = W_in.abs() * W_out  # to its own feature, of 1
    served = (given > SERVED[0]) & (given < SERVED[1])
    rows = []
    for w, out, on in zip(W_in, W_out, served, strict=True):
        two = (w.abs() * on).topk(2).indices if on.sum() > 1 else torch.tensor([0, 0])
        (w1, w2), (o1, o2) = w[two].tolist(), out[two].tolist()
        rows.append(
            {
                "primary": int(w.abs().argmax()),
                "held": int((w.abs() > 0.2).sum()),
                "served": int(on.sum()),
                "w ratio": w2 / w1 if on.sum() > 1 else None,
                "out ratio": o2 / o1 if on.sum() > 1 else None,
            }
        )
    return pd.DataFrame(rows)


def large(start: str, seed: int, code: str) -> pd.DataFrame:
    """A hundred features in 40 neurons, over sparsity."""
    density = torch.tensor(LARGE).unsqueeze(1).expand(-1, FEATURES).contiguous()
    weights = store.learn(
        store.absolute, begun(start, density, seed), p=density, importance=importance(),
        steps=3000, rate=3e-3, low=-1, rng=[seed, 3],
    )  # fmt: skip
    lost = judged(cast(Weights, weights), density, importance(), 20_000)
    plain = judged(by_hand(density), density, importance(), 20_000)
    tables = []
    for k, p in enumerate(LARGE):
        each = neurons(tuple(v[k] for v in weights))
        columns = {"start": start, "seed": seed, "p": p, "loss": float(lost[k])}
        tables.append(each.assign(neuron=range(NEURONS), **columns, plain=float(plain[k])))
    return pd.concat(tables)


def all_small(seeds: int) -> pd.DataFrame:
    """Every density."""
    return each_once(small, [(p, seeds) for p in SMALL], "")


def all_large(seeds: int) -> pd.DataFrame:
    """Every start and seed."""
    return each_once(large, [(start, seed) for start in STARTS for seed in range(seeds)], "")


def absolute_small() -> pd.DataFrame:
    """Three absolute values in six neurons: how often exact."""
    return kept("absolute_small", all_small, long="a minute", seeds=100)


def absolute_large() -> pd.DataFrame:
    """A hundred in 40."""
    return kept("absolute_large", all_large, long="eight minutes", seeds=3)
