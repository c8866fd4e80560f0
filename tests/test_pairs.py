"""The closed forms of pairs read at once, against integrals, draws and a linear program."""

import importlib
from itertools import product
from math import inf, pi, sqrt
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import norm

from cisp.neighbours import pairs

T = pytest.mark.parametrize("t", [0, 1, 3, 2.5, 28])
NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


def integral(x: int, y: int, p: int, q: int, t: float) -> float:
    """E[ReLU(x u + y v + sqrt(t) z)] given the signs of u and v: z by hand, the two on a grid."""
    u = 5 * (NODES + 1)  # 0 to 10
    density = 5 * WEIGHTS * sqrt(2 / pi) * np.exp(-u * u / 2)
    mean = x * p * u[:, None] + y * q * u
    inner = np.maximum(mean, 0.0)
    if t:
        inner = mean * norm.cdf(mean / sqrt(t)) + sqrt(t) * norm.pdf(mean / sqrt(t))
    return float(density @ inner @ density)


def grid_error(t: float) -> float:
    """Of 400 nodes: a kink crosses the grid where t = 0, at spacings of 1 / 30."""
    return 1e-9 if t else 1e-4


@T
def test_the_sixteen_mean_activations_are_the_gaussian_integrals(t: float) -> None:
    found = pairs.mean_activations(t)
    for a, (x, y) in enumerate(pairs.CASES):
        for b, (p, q) in enumerate(pairs.SIGNS):
            assert found[a, b] == pytest.approx(integral(x, y, p, q, t), abs=grid_error(t))


@T
def test_the_sign_constant_is_its_integral_over_u_and_v(t: float) -> None:
    quarter = [integral(1, 1, p, q, t) * p * q / 4 for p, q in pairs.SIGNS]
    assert pairs.sign_constant(t) == pytest.approx(sum(quarter), abs=grid_error(t))


def test_the_sign_constant_falls_as_one_over_the_root_of_the_bits_that_are_on() -> None:
    t = 1e4
    leading = 2 / pi / sqrt(2 * pi * (1 + t))
    # the next term is of relative size 1 / t; a hundred times rounding of the difference beside it
    assert pairs.sign_constant(t) == pytest.approx(leading, rel=1e-4)


@pytest.mark.parametrize("gate", [*pairs.GATES.values(), (1, 0.5, -2, 3)])
@pytest.mark.parametrize("t", [1, 3, 10])
def test_the_four_parameters_give_the_gate_in_all_four_cases(
    gate: tuple[float | int, ...], t: int
) -> None:
    r = pairs.free_parameters(gate, t)
    assert pairs.mean_activations(t) @ r / 4 == pytest.approx(np.array(gate), abs=1e-12)
    solved = np.linalg.solve(pairs.mean_activations(t) / 4, np.array(gate))
    assert r == pytest.approx(solved, rel=1e-9, abs=1e-9)  # the matrix's condition is below 1e3


def test_without_others_a_pair_that_is_off_reads_exactly_0() -> None:
    r = pairs.free_parameters(pairs.GATES["AND"], 0)
    assert (pairs.mean_activations(0) @ r / 4)[1:] == pytest.approx([0, 0, 1], abs=1e-12)
    assert pairs.error_variance(D=10, on=0, others=0) == 0
    with pytest.raises(ValueError, match="0 without any bit on where others=0"):
        pairs.free_parameters((1, 0, 0, 1), 0)


@pytest.mark.parametrize("gate", ["AND", "XOR"])
def test_a_wide_random_layer_reads_every_gate_on_all_four_inputs(gate: str) -> None:
    D, m, t = 20_000, 8, 2
    W = pairs.gaussian(D=D, m=m, rng=1)
    R = pairs.read_offs(W, pairs.free_parameters(pairs.GATES[gate], t))
    x = np.zeros((4, m))
    x[:, :2], x[:, -t:] = pairs.CASES, 1
    h = np.maximum(x @ W.T, 0)
    found, true = (h @ R.T)[:, 0], np.array(pairs.GATES[gate])
    spread = (h * R[0] * D).std(1) / sqrt(D)
    assert (abs(found - true) <= 4 * spread).all()  # four standard errors, the seed fixed
    assert pairs.targets(x, gate)[:, 0].tolist() == true.tolist()


@pytest.mark.parametrize(("on", "t"), [(1, 0), (2, 0), *product([0, 1, 2], [1, 3, 8])])
def test_the_variance_of_a_read_off_is_the_law_and_half_of_that_without_the_relu(
    on: int, t: int
) -> None:
    rng, n = np.random.default_rng(2), 400_000
    u, v, z = rng.normal(size=(3, n))
    c, bits = pairs.sign_constant(t), [int(on > 0), int(on > 1)]
    one = np.sign(u * v) / c * np.maximum(bits[0] * u + bits[1] * v + sqrt(t) * z, 0)
    law = pairs.error_variance(D=1, on=on, others=t)
    # a variance of n draws errs by sqrt(kurtosis / n), here below 1 %: four of these
    assert one.var() == pytest.approx(law, rel=0.04)
    assert (on + t) / c**2 > 1.9 * one.var()


@pytest.mark.parametrize("gate", [*pairs.GATES.values(), (1, -2, 0.5, 3)])
def test_the_affine_error_is_that_of_a_linear_program(gate: tuple[float | int, ...]) -> None:
    rows = np.array([[x, y, 1] for x, y in pairs.CASES])
    A = np.block([[rows, -np.ones((4, 1))], [-rows, -np.ones((4, 1))]])
    best = linprog([0, 0, 0, 1], A, np.concatenate([gate, -np.array(gate)]), bounds=(-inf, inf))
    assert pairs.affine_error(gate) == pytest.approx(best.fun, abs=1e-9)


def test_no_layer_is_below_the_floor_of_its_rank_and_one_is_at_it() -> None:
    x = pairs.sparse_inputs(6, (0, 1, 2))
    y = pairs.targets(x, "AND")
    assert pairs.rank_floor(y, 15) == pytest.approx(0, abs=1e-12)
    for D in (2, 5, 9):
        floor, (u, s, v) = pairs.rank_floor(y, D), np.linalg.svd(y, full_matrices=False)
        nearest = (u[:, :D] * s[:D]) @ v[:D]
        assert ((nearest - y) ** 2).mean() ** 0.5 == pytest.approx(floor)
        for seed in range(20):
            h = np.maximum(x @ pairs.gaussian(D=D, m=6, rng=seed).T, 0)
            e = h @ np.linalg.lstsq(h, y)[0] - y
            assert (e**2).mean() ** 0.5 > floor


def test_every_pair_is_read_by_the_signs_of_its_own_two_weights() -> None:
    W = np.array([[1.0, -2, 3], [-1, -1, 1]])
    R = pairs.read_offs(W, np.array([1.0, 2, 3, 4]))
    assert (2 * R).tolist() == [[2, 4], [1, 3], [3, 3]]  # pairs 01, 02, 12


def test_sparse_inputs_are_all_sets_of_the_given_sizes() -> None:
    x = pairs.sparse_inputs(5, (0, 1, 3))
    assert x.sum(1).tolist() == [0] + 5 * [1] + 10 * [3]
    assert len(np.unique(x, axis=0)) == len(x)


def data(gate: str) -> tuple[torch.Tensor, torch.Tensor]:
    x = pairs.sparse_inputs(6, (0, 1, 2))
    return torch.from_numpy(x), torch.from_numpy(pairs.targets(x, gate))


def test_training_a_frozen_layer_comes_to_the_least_squares_read_off() -> None:
    x, y = data("AND")
    *_, net = pairs.train(x, y, D=4, seeds=[3], frozen=True, steps=3000)
    W = torch.from_numpy(pairs.gaussian(D=4, m=6, rng=3))
    assert torch.equal(net.W[0], W)
    assert not net.b.any()
    best = torch.linalg.lstsq((x @ W.T).relu(), y).solution.T
    assert torch.allclose(net.R[0], best, atol=1e-4)  # Adam's last steps, the rate nearly 0


def test_seeds_are_trained_apart_and_a_free_first_layer_does_better() -> None:
    x, y = data("XOR")
    *_, both = pairs.train(x, y, D=10, seeds=[3, 4], steps=300)
    *_, one = pairs.train(x, y, D=10, seeds=[4], steps=300)
    assert torch.allclose(both.R[1], one.R[0], atol=1e-6)  # sums in another order
    *_, frozen = pairs.train(x, y, D=10, seeds=[3, 4], steps=300, frozen=True)
    loss = [(net(x) - y).square().mean() for net in (both, frozen)]
    assert loss[0] < loss[1]


def test_positives_weigh_as_they_are_told() -> None:
    x, y = data("AND")
    errors = []
    for weight in (1, 30):
        *_, net = pairs.train(x, y, D=4, seeds=[0], weight=weight, power=4, steps=600)
        errors.append((net(x)[0] - y)[y == 1].abs().mean())
    assert errors[1] < 0.7 * errors[0]


def test_what_no_layer_could_be_is_refused() -> None:
    x, y = data("AND")
    for wrong in ({"D": 0}, {"D": 2, "power": 0}, {"D": 2, "weight": -1.0}, {"D": 2, "lr": 0}):
        with pytest.raises(ValueError, match="is not allowed"):
            next(pairs.train(x, y, seeds=[0], **wrong))
    with pytest.raises(ValueError, match="gate='NOR' is not allowed"):
        pairs.targets(x.numpy(), "NOR")
    with pytest.raises(ValueError, match="others=-1 is not allowed"):
        pairs.sign_constant(-1)
    with pytest.raises(ValueError, match="four outputs"):
        pairs.free_parameters((0, 1), 1)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.pairs_trained")


def test_a_silent_layer_errs_where_a_pair_is_on(study: ModuleType) -> None:
    silent = pairs.Layers(torch.zeros(1, 4, 16), torch.zeros(1, 1, 4), torch.zeros(1, 120, 4))
    found = study.errors_of(silent, "AND").iloc[0]
    share = (3 * 560 + 120) / (697 * 120)  # three pairs of three bits, one of two
    assert found["rms"] ** 2 == pytest.approx(share)
    assert found[["worst", "rms where on", "rms where off"]].tolist() == [1, 1, 0]
    assert found["above 1/4"] == found["above 1/2"] == pytest.approx(share)


def test_the_errors_of_drawn_layers_are_those_of_the_law(study: ModuleType) -> None:
    found = study.drawn_errors(bits=20, on=3, widths=(500, 2000), seeds=2)
    off = pairs.error_variance(D=1, on=2, others=1) + 1  # three bits on, the pair not both
    law = np.sqrt((off - 3 / 190) / found.D)
    # from layer to layer it varies by 0.02 (twelve of other seeds): four of these
    assert (found.rms / law).tolist() == pytest.approx([1] * 4, abs=0.08)
    assert (found.worst > 2 * found.rms).all()
