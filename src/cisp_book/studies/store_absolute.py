"""Absolute values computed by fewer neurons than they need: trained from three starts."""

from typing import cast

import pandas as pd
import torch
from torch import Tensor

from cisp.neighbours import store
from cisp_book.kept import kept
from cisp_book.studies.apart import each_once

SMALL = (1.0, 0.3, 0.1, 0.03)
LARGE = (0.3, 0.1, 0.03, 0.01, 0.003)
STARTS = ("random", "random, a tenth", "by hand")
FEATURES, NEURONS = 100, 40
HELD, SERVED = 0.2, 0.25  # of a neuron's largest weight; of what a side of a feature needs, 1
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
    """The loss of every model over its p, on inputs of one seed."""
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


def neurons(W_in: Tensor) -> pd.DataFrame:
    """Of each neuron the feature of its largest weight, and how many it holds."""
    size = W_in.abs() / W_in.abs().amax(1, keepdim=True)
    return pd.DataFrame({"primary": size.argmax(1), "held": (size > HELD).sum(1)})


def large(start: str, seed: int, code: str) -> pd.DataFrame:
    """A hundred features in 40 neurons, over sparsity."""
    density = torch.tensor(LARGE).unsqueeze(1).expand(-1, FEATURES).contiguous()
    weights = store.learn(
        store.absolute, begun(start, density, seed), p=density, importance=importance(),
        steps=2000, rate=3e-3, low=-1, rng=[seed, 3],
    )  # fmt: skip
    lost = judged(cast(Weights, weights), density, importance(), 20_000)
    plain = judged(by_hand(density), density, importance(), 20_000)
    tables = []
    for k, p in enumerate(LARGE):
        each = neurons(weights[0][k])
        columns = {"start": start, "seed": seed, "p": p, "loss": float(lost[k])}
        tables.append(each.assign(neuron=range(NEURONS), **columns, plain=float(plain[k])))
    return pd.concat(tables)


def shared(weights: Weights) -> pd.DataFrame:
    """Neurons that serve two features: their two weights, and what the first puts on the second.

    Weights are scaled so that the larger is 1. `leak`: what the neuron alone gives to the second
    feature when the first is 1 or -1; `left`: what the network gives.
    """
    W_in, W_out, _ = weights
    most = W_in.abs().amax(1, keepdim=True)
    rows = []
    for w, out in zip(W_in / most, W_out.T * most, strict=True):
        given, two = (w.abs() * out).topk(2)
        if given[1] > SERVED:
            i, j = two[w[two].abs().argsort(descending=True)].tolist()
            x = torch.zeros(1, 1, len(w))
            x[0, 0, i] = w[i].sign()
            y = store.absolute(x, *(v.unsqueeze(0) for v in weights))
            ratios = {"w": float(w[j] / w[i]), "out": float(out[j] / out[i])}
            rows.append(ratios | {"leak": float(out[j] * w[i].abs()), "left": float(y[0, 0, j])})
    return pd.DataFrame(rows, columns=["w", "out", "leak", "left"])


def motifs(p: float, seeds: int, code: str) -> pd.DataFrame:
    """Six features in eight neurons, which serve four without superposition."""
    density, each = torch.full((seeds, 6), p), 0.8 ** torch.arange(6.0).unsqueeze(0)
    weights = store.learn(
        store.absolute, random(density, 8, 5, 0.5), p=density, importance=each, steps=2500,
        batch=128, low=-1, rng=[5, 3],
    )  # fmt: skip
    lost = judged(cast(Weights, weights), density, each, 8192)
    plain = float(each[0, 4:].sum()) * (1 / 3 - p / 4)
    tables = []
    for k in range(seeds):
        found = shared(cast(Weights, tuple(v[k] for v in weights)))
        found.loc[len(found)] = [float("nan")] * 4  # the model itself, that none be missing
        tables.append(found.assign(p=p, seed=k, loss=float(lost[k]), plain=plain))
    return pd.concat(tables)


def all_motifs(seeds: int) -> pd.DataFrame:
    """Two densities."""
    return each_once(motifs, [(p, seeds) for p in (0.1, 0.03)], "")


def absolute_motifs() -> pd.DataFrame:
    """Six absolute values in eight neurons."""
    return kept("absolute_motifs", all_motifs, long="a minute", seeds=40)


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
    return kept("absolute_large", all_large, long="eight minutes", seeds=2)
