"""A transformer that sorts, and measures of translational symmetry with known answers."""

import importlib
from collections.abc import Callable
from itertools import combinations, permutations
from math import comb, factorial, log
from types import ModuleType

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from cisp.neighbours import sorting, symmetry
from cisp.neighbours.sorting import Sorter


def small(**sizes: int) -> Sorter:
    """A model in float64 with every bias at random."""
    model = Sorter(**{"numbers": 7, "length": 3, "width": 6, "head_width": 4, **sizes}).double()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for b in model.bias.values():
            b.copy_(torch.randn(b.shape, generator=draw, dtype=torch.float64))
    return model


def batch_of(model: Sorter, batch: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    x = sorting.lists(batch=batch, numbers=model.numbers, length=model.length, rng=3)
    y = sorting.in_order(x)
    return x, y, sorting.sequence(x, y, separator=model.numbers)


def by_hand(model: Sorter, row: list[int], shift: np.ndarray | None = None) -> np.ndarray:
    """Logits of the last place, by a loop over heads and places in plain numpy."""
    w = {n: p.detach().numpy() for n, p in model.named_parameters()}

    def normed(r: np.ndarray) -> np.ndarray:
        return (r - r.mean()) / np.sqrt(r.var() + 1e-5)

    r = [w["E"][t] + w["P"][p] for p, t in enumerate(row)]
    sd = [np.sqrt(each.var() + 1e-5) for each in r]
    out = r[-1].copy()
    for h in range(len(w["Q"])):
        q = normed(r[-1]) @ w["Q"][h] + w["bias.Q"][h, 0]
        scores = []
        for p, t in enumerate(row):
            scores.append(q @ (normed(r[p]) @ w["K"][h] + w["bias.K"][h, 0]) / 4**0.5)
            if shift is not None:
                scores[-1] += shift[h, row[-1], t] / sd[-1] / sd[p]
        weights = np.exp(scores) / np.exp(scores).sum()
        for p in range(len(row)):
            v = normed(r[p]) @ w["V"][h] + w["bias.V"][h, 0]
            out += weights[p] * v @ w["O"][h]
    return normed(out) @ w["U"] + w["bias.U"]


def test_the_layer_is_what_a_loop_over_heads_and_places_gives() -> None:
    model = small()
    _, _, tokens = batch_of(model)
    shift = np.random.default_rng(0).normal(size=(2, 8, 8))
    plain, shifted = model(tokens), model(tokens, shift=torch.tensor(shift))
    for b, row in enumerate(tokens.tolist()):
        for k in range(3):  # places after the one that asks must not matter
            # the same sums in another order, in float64
            assert plain[b, k].tolist() == pytest.approx(by_hand(model, row[: 4 + k]), rel=1e-9)
            other = by_hand(model, row[: 4 + k], shift)
            assert shifted[b, k].tolist() == pytest.approx(other, rel=1e-9)


def test_circuits_are_what_the_layer_does_to_tokens() -> None:
    """Without positions and biases the scores are QK and the logits OV, up to LayerNorm's scale."""
    model = small(heads=1)
    with torch.no_grad():
        for p in (model.P, *model.bias.values()):
            p.zero_()
    E = model.E.detach()
    sd = (E.var(1, correction=0) + 1e-5).sqrt()
    scores = sorting.qk(model)[0] / (sd[:, None] * sd)
    _, _, tokens = batch_of(model)
    attention = model.attention(tokens)[:, 0].detach()
    for b, row in enumerate(tokens.tolist()):
        wanted = scores[row[3]][row[:4]].softmax(0)
        assert attention[b, 0, :4].tolist() == pytest.approx(wanted.tolist(), rel=1e-9)
    one = torch.zeros(1, 1, 3, 6).double()
    one[..., 1] = 1  # all attend to place 1
    row = tokens[:1]
    before = E[row[0, 3]]
    told = model.read(row, one)[0, 0].detach()
    moved = (E - E.mean(1, keepdim=True))[row[0, 1]] / sd[row[0, 1]] @ model.V[0] @ model.O[0]
    after = before - before.mean() + (moved - moved.mean()).detach()
    scale = (after.var(correction=0) + 1e-5).sqrt()
    direct = (before - before.mean()) @ model.U.detach()
    ov = sorting.ov(model)[0, row[0, 1]] / sd[row[0, 1]]
    assert told.tolist() == pytest.approx(((direct + ov) / scale).tolist(), rel=1e-9)


def toeplitz_matrix(n: int, rng: int) -> Tensor:
    line = torch.tensor(np.random.default_rng(rng).normal(size=2 * n - 1))
    return line[torch.arange(n)[:, None] - torch.arange(n) + n - 1]


def test_symmetry_of_matrices_whose_answer_is_known() -> None:
    """[[1, 2], [3, 5]]: |5 - 1| along, |3 - 2| across; a line of one entry deviates by nothing."""
    M = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert symmetry.along_less_across(M) == 4 - 1
    assert symmetry.symmetry(M) == pytest.approx((1 - 4) / (1 + 4))
    along, across = (2 * 2**2 / 4) ** 0.5, (2 * 0.5**2 / 4) ** 0.5
    assert symmetry.deviation(M) == pytest.approx(1 - along / across)
    even = toeplitz_matrix(9, 0)
    steps = sum(abs(even[i + 1, j] - even[i, j + 1]) for i in range(8) for j in range(8))
    assert symmetry.along_less_across(even) == pytest.approx(-steps)
    assert symmetry.symmetry(even) == 1
    assert symmetry.deviation(even) == pytest.approx(1)
    for measure in (symmetry.along_less_across, symmetry.symmetry):
        assert measure(even.flip(1)) == pytest.approx(-measure(even))  # lines change places


def test_scale_and_a_constant_leave_the_relative_measures_alone() -> None:
    M = torch.tensor(np.random.default_rng(1).normal(size=(3, 8, 8)))
    for measure in (symmetry.symmetry, symmetry.deviation):
        assert measure(5 * M + 2).tolist() == pytest.approx(measure(M).tolist())
    five = symmetry.along_less_across(5 * M + 2)
    assert five.tolist() == pytest.approx((5 * symmetry.along_less_across(M)).tolist())


def test_what_no_softmax_sees_changes_the_measure_and_centring_takes_it_out() -> None:
    even = toeplitz_matrix(9, 0) - toeplitz_matrix(9, 0).mean(1, keepdim=True)
    hidden = even + 10 * torch.tensor(np.random.default_rng(2).normal(size=(9, 1)))
    assert torch.allclose(hidden.softmax(1), even.softmax(1))
    assert abs(symmetry.symmetry(hidden) - symmetry.symmetry(even)) > 0.3
    assert torch.allclose(symmetry.centred(hidden), even)


def test_the_toeplitz_part_has_the_mean_of_each_line() -> None:
    M = torch.tensor(np.random.default_rng(1).normal(size=(2, 5, 5)))
    found = symmetry.toeplitz(M)
    for h in range(2):
        for i in range(5):
            for j in range(5):
                assert found[h, i, j] == pytest.approx(M[h].diagonal(j - i).mean())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_floor_of_permuted_lists_is_their_entropy(share: float) -> None:
    """All orders of 4 numbers, each with its probability."""
    p = [(1 - share) * (o == (0, 1, 2, 3)) + share / 24 for o in permutations(range(4))]
    entropy = -sum(q * log(q) for q in p if q)
    assert sorting.floor_permuted(share=share, length=4) == pytest.approx(entropy / 4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_floor_of_replaced_elements_is_their_entropy(share: float) -> None:
    """All outputs of a list {0, 1} of numbers below 5, each with its probability."""
    p = []
    for out in combinations(range(5), 2):
        k = sum(v > 1 for v in out)  # this many are new: any k of three
        p.append(share**k * (1 - share) ** (2 - k) / comb(3, k))
    assert sum(p) == pytest.approx(1)
    entropy = -sum(q * log(q) for q in p if q)
    floor = sorting.floor_replaced(share=share, numbers=5, length=2)
    assert floor == pytest.approx(entropy / 2, abs=1e-12)


def test_targets_are_permuted_or_replaced_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    x = sorting.lists(batch=4000, rng=1)
    assert all(len(set(row)) == 10 for row in x[:50].tolist())
    assert x.unique().tolist() == list(range(51))
    y = sorting.permuted(0.25)(x, rng)
    right = (y == sorting.in_order(x)).all(1)
    assert torch.equal(y.sort(1).values, sorting.in_order(x))
    assert abs(right.double().mean() - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5
    y = sorting.replaced(0.25)(x, rng)
    assert (y.diff(dim=1) > 0).all()
    kept = (y[:, :, None] == x[:, None]).any(2).double()
    assert abs(kept.mean() - 0.75) < 4 * (0.75 * 0.25 / 40_000) ** 0.5
    assert not (sorting.replaced(1.0)(x, rng)[:, :, None] == x[:, None]).any()


def test_it_learns_to_sort_short_lists_and_no_order_where_there_is_none() -> None:
    """Loss from log 9 = 2.2 to below a tenth; permuted, to the entropy and no lower."""
    sizes = {"numbers": 8, "length": 3, "width": 32, "head_width": 16}
    x = sorting.lists(batch=500, numbers=8, length=3, rng=9)
    for share, low, high in ((0.0, 0, 0.1), (1.0, log(factorial(3)) / 3 - 0.03, 0.75)):
        model, target = Sorter(**sizes, rng=0), sorting.permuted(share)
        steps = list(sorting.train(model, steps=300, target=target, lr=1e-2, batch=64, rng=1))
        assert steps == list(range(301))
        y = target(x, np.random.default_rng(2))
        # 1,500 losses about the entropy, with a standard deviation below 0.5 each
        assert low <= sorting.loss(model, x, y).mean().item() < high


def test_the_same_seed_trains_the_same_model() -> None:
    sizes = {"numbers": 8, "length": 3, "width": 8, "head_width": 4}
    one, two = (Sorter(**sizes, rng=4) for _ in range(2))
    for model in (one, two):
        list(sorting.train(model, steps=3, rng=5))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


model = Sorter(numbers=7, length=3, width=6, head_width=4)
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Sorter(numbers=0), "numbers=0"),
    (lambda: Sorter(length=52), "length=52"),
    (lambda: Sorter(width=2.5), "width=2.5"),  # type: ignore[arg-type]
    (lambda: Sorter(heads=0), "heads=0"),
    (lambda: Sorter(head_width=-1), "head_width=-1"),
    (lambda: Sorter(rng=-1), "rng=-1"),
    (lambda: model(torch.tensor([[0, 1, 2, 8]])), "tokens"),
    (lambda: model(torch.tensor([[0, 1, 2]])), "tokens"),
    (lambda: model(torch.tensor([[0, 1, 2, 7, 0, 1, 2]])), "tokens"),
    (lambda: sorting.lists(batch=0, rng=0), "batch=0"),
    (lambda: sorting.lists(batch=1, numbers=5, rng=0), "length=10"),
    (lambda: sorting.permuted(1.5), "share=1.5"),
    (lambda: sorting.replaced(-1), "share=-1"),
    (lambda: sorting.floor_permuted(share=2), "share=2"),
    (lambda: sorting.floor_replaced(share=2), "share=2"),
    (lambda: sorting.floor_replaced(share=0.5, numbers=19), "numbers=19"),
    (lambda: next(sorting.train(model, steps=0, rng=0)), "steps=0"),
    (lambda: next(sorting.train(model, steps=1, lr=0, rng=0)), "lr=0"),
    (lambda: next(sorting.train(model, steps=1, decay=-1, rng=0)), "decay=-1"),
    (lambda: list(sorting.train(model, steps=1, batch=0, rng=0)), "batch=0"),
    (lambda: symmetry.symmetry(torch.ones(3, 4)), "M="),
    (lambda: symmetry.deviation(torch.ones(1, 1)), "M="),
]


@pytest.mark.parametrize(("call", "named"), WRONG)
def test_bad_input_is_refused_by_name(
    call: Callable[[], object], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    with pytest.raises(ValueError, match=named):
        call()


def test_the_losses_are_those_of_the_next_number() -> None:
    model = small()
    x, y, tokens = batch_of(model)
    found = sorting.loss(model, x, y).exp()
    p = model(tokens).softmax(2)
    for b in range(5):
        for k in range(3):
            assert found[b, k].item() == pytest.approx(1 / p[b, k, y[b, k]].item())


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.sorting")


def test_the_shift_makes_qk_among_numbers_toeplitz_and_leaves_the_separator(
    study: ModuleType,
) -> None:
    model = small()
    QK, shift = sorting.qk(model), study.evened(model)
    even = QK + shift
    for d in range(-6, 7):
        assert torch.allclose(
            even[:, :7, :7].diagonal(d, 1, 2).std(1, correction=0), torch.zeros(1).double()
        )
    assert not shift[:, 7].any()
    assert not shift[:, :, 7].any()


def test_a_number_has_a_dimension_to_itself_if_no_other_points_there(study: ModuleType) -> None:
    model = small(numbers=4, width=6, head_width=6, heads=1)
    with torch.no_grad():
        model.V.copy_(torch.eye(6).double()[None])
        model.E[:4] = torch.tensor(
            [[1.0, -1, 0, 0, 0, 0], [0, 0, 2, -2, 0, 0], [0, 0, 2, -2, 0, 0], [0, 0, 0, 0, 3, -3]]
        )
    assert study.dimensions(model) == pytest.approx((1 + 0.5 + 0.5 + 1) / 4)


def test_numbers_split_between_heads_are_counted_in_runs(study: ModuleType) -> None:
    rows = [(0, 0.9, 0.1), (1, 0.3, 0.3), (2, 0.1, 0.7), (3, 0.6, 0.0)]
    heads = pd.DataFrame(
        [{"number": v, "head": h, "attention": a[h]} for v, *a in rows for h in (0, 1)]
    )
    found = study.splitting(heads)
    assert found["split"] == pytest.approx((0.8 + 0 + 0.75 + 1) / 4)
    assert found["regions"] == 3


def test_a_head_alone_is_right_where_it_attends_to_the_number(study: ModuleType) -> None:
    model = small()
    x = sorting.lists(batch=300, numbers=7, length=3, rng=3)
    y, found = sorting.in_order(x), study.by_number(model, x)
    attention = model.attention(sorting.sequence(x, y, separator=7)).detach()
    onto = [
        attention[b, 1, k, x[b].tolist().index(5)].item()
        for b in range(300)
        for k in range(3)
        if y[b, k] == 5
    ]
    row = found[(found["head"] == 1) & (found["number"] == 5)]
    assert row.attention.item() == pytest.approx(np.mean(onto))
