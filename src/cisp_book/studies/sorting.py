"""A transformer that learns to sort, watched: seeds, controls, narrow heads, kept weights.

Every run: AdamW at a rate of 0.003 that falls linearly to 0, weight decay 0.5 where nothing else is
said, 128 fresh lists a step; judged on 2,000 lists of its own.
"""

import joblib
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from cisp.neighbours.sorting import (
    Sorter,
    Target,
    in_order,
    lists,
    loss,
    ov,
    permuted,
    qk,
    replaced,
    sequence,
    train,
)
from cisp.neighbours.symmetry import along_less_across, centred, deviation, symmetry, toeplitz
from cisp_book.kept import DATA, code_of, finished, kept

RATE, DECAY, SEEDS, STEPS, SHORT = 3e-3, 0.5, 5, 2000, 600
SEEN = (0, 30, 60, 100, 200, 400, 1000, 2000)  # steps after which a run is judged
WEIGHTS = (30, 100, 400, 2000)  # steps whose weights are kept, of seed 0
MEASURES = {"file": along_less_across, "symmetry": symmetry, "deviation": deviation}
NOISED = [("permuted", 0.5), ("permuted", 0.9), ("permuted", 1.0)]
NOISED += [("replaced", 0.1), ("replaced", 0.5), ("replaced", 1.0)]
NARROW = (2, 4, 8, 16)

Run = tuple[pd.DataFrame, pd.DataFrame, dict[str, Tensor]]


def targets(noise: str, share: float) -> Target:
    """What the model is asked for."""
    return {"permuted": permuted, "replaced": replaced}[noise](share) if noise else in_order


def circuits(model: Sorter) -> dict[str, Tensor]:
    """QK and OV among numbers, as they are and as a softmax sees them."""
    n = model.numbers
    whole = {"QK": qk(model)[:, :n, :n], "OV": ov(model)[:, :n, :n]}
    return whole | {f"{name} seen": centred(M) for name, M in whole.items()}


def evened(model: Sorter, share: float = 1) -> Tensor:
    """The shift that makes QK among numbers Toeplitz; a share of the way to it."""
    M, n = qk(model), model.numbers
    change = torch.zeros_like(M)
    change[:, :n, :n] = toeplitz(M[:, :n, :n]) - M[:, :n, :n]
    return share * change


def sorts(model: Sorter, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """Which places of the output are right, where all before were."""
    y = in_order(x)
    with torch.no_grad():
        return model(sequence(x, y, separator=model.numbers), shift=shift).argmax(-1) == y


def by_number(model: Sorter, x: Tensor) -> pd.DataFrame:
    """Of each number and head: its attention to it when it is next, and what it does alone."""
    y = in_order(x)
    tokens = sequence(x, y, separator=model.numbers)
    rows = []
    with torch.no_grad():
        attention = model.attention(tokens)
        place = (x[:, None] == y[..., None]).int().argmax(2)[:, None, :, None]
        for head in range(attention.shape[1]):
            onto = attention[:, [head]].gather(3, place)[:, 0, :, 0]
            alone = torch.zeros_like(attention)
            alone[:, head] = attention[:, head]
            right = (model.read(tokens, alone).argmax(-1) == y).float()
            for v in range(model.numbers):
                at = y == v
                shares = {"attention": onto[at].mean().item(), "alone": right[at].mean().item()}
                rows.append({"head": head, "number": v, **shares})
    return pd.DataFrame(rows)


def splitting(heads: pd.DataFrame) -> dict[str, float]:
    """How far numbers belong to one head: 0 both attend alike, 1 one only; and in how many runs."""
    of = heads.pivot(index="number", columns="head", values="attention").to_numpy()
    unlike = np.abs(of[:, 0] - of[:, 1]) / of.sum(1)
    first = of.argmax(1)
    return {"split": unlike.mean(), "regions": 1 + (np.diff(first) != 0).sum()}


def judged(model: Sorter, target: Target, x: Tensor) -> tuple[dict[str, float], pd.DataFrame]:
    """All that is measured of a model, and what each head does with each number."""
    with torch.no_grad():
        each = loss(model, x, target(x, np.random.default_rng(1))).mean().item()
    n = model.numbers
    row = {"loss": each, "sorts": sorts(model, x).float().mean().item()}
    row["toeplitz sorts"] = sorts(model, x, evened(model)).float().mean().item()
    nothing = qk(model)
    nothing[:, n], nothing[:, :, n] = 0, 0
    row["without sorts"] = sorts(model, x, -nothing).float().mean().item()
    for name, M in circuits(model).items():
        row |= {f"{name}, {m}": of(M).mean().item() for m, of in MEASURES.items()}
    for name in ("QK seen", "OV seen"):
        row[f"{name}, size"] = circuits(model)[name].square().mean().sqrt().item()
    row["dimensions"] = dimensions(model)
    heads = by_number(model, x)
    return row | splitting(heads), heads


def dimensions(model: Sorter) -> float:
    """Mean share of a dimension that a number has to itself among the values of a head."""
    W = centred(model.E.detach())[: model.numbers] @ model.V.detach()
    unit = W / W.norm(dim=2, keepdim=True)
    own = W.square().sum(2) / (unit @ W.mT).square().sum(2)
    return own.mean().item()


def run(
    seed: int, decay: float, noise: str, share: float, head_width: int, steps: int, code: str
) -> Run:
    """One training: its history, its heads at the end, its weights. `code` tells sources apart."""
    model, target = Sorter(head_width=head_width, rng=[seed, 1]), targets(noise, share)
    x = lists(batch=2000, rng=10_000)
    history, weights = [], dict[str, Tensor]()
    for step in train(model, steps=steps, target=target, lr=RATE, decay=decay, rng=[seed, 2]):
        if step in SEEN:
            row, heads = judged(model, target, x)
            history.append({"step": step, **row})
        if step in WEIGHTS:
            state = model.state_dict().items()
            weights |= {f"{step} {name}": w.half().clone() for name, w in state}
    keys = {"seed": seed, "decay": decay, "noise": noise or "none", "share": share}
    keys["head_width"] = head_width
    return pd.DataFrame(history).assign(**keys), heads.assign(**keys), weights


def runs(cells: list[tuple[int, float, str, float, int, int]]) -> list[Run]:
    """Each run, those done before found again."""
    code, again = code_of(run), finished().cache(run)
    done = joblib.Parallel(return_as="generator")(joblib.delayed(again)(*c, code) for c in cells)
    return list(tqdm(done, total=len(cells)))


def plain(seeds: int, steps: int) -> list[Run]:
    """The original's case over seeds."""
    return runs([(seed, DECAY, "", 0.0, 48, steps) for seed in range(seeds)])


def watched(*, seeds: int, steps: int) -> pd.DataFrame:
    """Histories over seeds, and of two without weight decay."""
    free = runs([(seed, 0.0, "", 0.0, 48, steps) for seed in range(2)])
    return pd.concat(history for history, _, _ in plain(seeds, steps) + free)


def heads_of(*, seeds: int, steps: int) -> pd.DataFrame:
    """What each head does with each number at the end, over seeds."""
    return pd.concat(heads for _, heads, _ in plain(seeds, steps))


def noised(*, seeds: int, steps: int) -> pd.DataFrame:
    """Histories of the controls."""
    cells = [(seed, DECAY, *noise, 48, steps) for noise in NOISED for seed in range(seeds)]
    return pd.concat(history for history, _, _ in runs(cells))


def narrowed(*, seeds: int, steps: int) -> pd.DataFrame:
    """Histories with narrow heads."""
    cells = [(seed, DECAY, "", 0.0, k, steps) for k in NARROW for seed in range(seeds)]
    return pd.concat(history for history, _, _ in runs(cells))


def sorting_watched() -> pd.DataFrame:
    """Loss, symmetry and splitting over training, by seed and weight decay."""
    return kept("sorting_watched", watched, long="ten minutes", seeds=SEEDS, steps=STEPS)


def sorting_heads() -> pd.DataFrame:
    """Which head attends to which number, by seed."""
    return kept("sorting_heads", heads_of, long="ten minutes", seeds=SEEDS, steps=STEPS)


def sorting_noised() -> pd.DataFrame:
    """The controls: targets permuted or replaced, by share and seed."""
    return kept("sorting_noised", noised, long="ten minutes", seeds=2, steps=SHORT)


def sorting_narrow() -> pd.DataFrame:
    """Narrow heads, by width and seed."""
    return kept("sorting_narrow", narrowed, long="ten minutes", seeds=2, steps=SHORT)


def sorting_weights() -> dict[int, Sorter]:
    """Models of seed 0 by step, from data/sorting.safetensors; trained anew where there is none."""
    path = DATA / "sorting.safetensors"
    if not path.exists():
        save_file(plain(1, STEPS)[0][2], path)
    stored, models = load_file(path), {}
    for step in WEIGHTS:
        models[step] = Sorter()
        of = {k.partition(" ")[2]: w for k, w in stored.items() if k.startswith(f"{step} ")}
        models[step].load_state_dict(of)
    return models
