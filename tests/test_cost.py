"""The cost of storing: formulas against brute force, codes against what is known of them."""

from collections.abc import Callable
from itertools import combinations, product
from math import log, sqrt

import jaxtyping
import numpy as np
import pytest
from scipy.stats import norm

import cisp
from cisp.neighbours import cost

TABLE = cisp.transversal_design(T=49, n=21, S=3)  # 3 groups of 7
STAR = np.array([[1, 0], [-0.5, sqrt(0.75)], [-0.5, -sqrt(0.75)]])  # 120 degrees apart


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_three_vectors_of_a_star_meet_at_minus_a_half() -> None:
    assert cost.interference(STAR) == pytest.approx((0.5, 0.5, -0.5))
    assert cost.least_q(T=3, n=2) == 0.25


def test_interference_is_that_of_all_pairs() -> None:
    code = cost.random_code(T=5, n=3, rng=1)
    g = np.array([code[t] @ code[u] for t, u in combinations(range(5), 2)])
    expected = sqrt((g**2).mean()), abs(g).max(), g.mean()
    assert cost.interference(code) == pytest.approx(expected)


def test_random_directions_have_a_mean_square_of_one_over_n() -> None:
    for n in (3, 10, 40):
        q = [cost.interference(cost.random_code(T=20, n=n, rng=k)).rms ** 2 for k in range(200)]
        assert abs(np.mean(q) - 1 / n) < 4 * np.std(q) / sqrt(200)


@pytest.mark.parametrize(("T", "n"), [(10, 3), (40, 20), (100, 100)])
def test_half_of_all_random_codes_stay_below_the_median_of_the_largest(T: int, n: int) -> None:
    median = cost.random_largest(T=T, n=n)
    codes = (cost.random_code(T=T, n=n, rng=k) for k in range(400))
    below = np.mean([cost.interference(code).largest < median for code in codes])
    assert abs(below - 0.5) < 4 * 0.5 / sqrt(400)


def test_no_code_is_below_the_least_mean_square_and_a_tight_frame_reaches_it() -> None:
    for T, n in ((7, 3), (30, 10), (60, 50)):
        least = cost.least_q(T=T, n=n)
        for power in (2, 8):
            code = cost.optimised_code(T=T, n=n, power=power, rng=1)
            assert cost.interference(code).rms ** 2 > least * (1 - 1e-9)
        tight = cost.optimised_code(T=T, n=n, power=2, steps=1000, rng=1)
        assert cost.interference(tight).rms ** 2 == pytest.approx(least, rel=1e-4)  # a descent
        assert np.allclose(tight.T @ tight, T / n * np.eye(n), atol=0.02 * T / n)


def test_descent_keeps_unit_length_and_lowers_the_largest_below_that_of_a_tight_frame() -> None:
    random, tight, low = (
        cost.optimised_code(T=60, n=20, power=power, steps=steps, rng=3)
        for power, steps in ((2, 0), (2, 300), (8, 300))
    )
    assert np.array_equal(random, cost.random_code(T=60, n=20, rng=3))
    assert np.allclose((low**2).sum(1), 1)
    largest = [cost.interference(code).largest for code in (random, tight, low)]
    assert largest[0] > largest[1] > 1.5 * largest[2]


def test_a_step_of_descent_goes_down_the_slope_along_the_sphere() -> None:
    def total(code: cost.Code) -> float:
        g = code @ code.T / np.outer(*[np.linalg.norm(code, axis=1)] * 2)
        return float((g[~np.eye(6, dtype=bool)] ** 4).sum())

    before = cost.random_code(T=6, n=3, rng=4)
    after = cost.optimised_code(T=6, n=3, power=4, steps=1, rng=4)
    slope, h = np.zeros((6, 3)), 1e-5
    for at in np.ndindex(6, 3):
        shift = np.zeros((6, 3))
        shift[at] = h
        slope[at] = (total(before + shift) - total(before - shift)) / (2 * h)
    step = after / (after * before).sum(1, keepdims=True) - before  # before it is of unit length
    share = np.vdot(step, slope) / np.vdot(slope, slope)
    assert share < 0
    assert np.allclose(step, share * slope, atol=1e-6)  # differences err by h^2


def test_as_many_vectors_as_neurons_become_orthogonal() -> None:
    assert cost.interference(cost.optimised_code(T=12, n=12)).largest < 1e-6
    assert cost.least_q(T=12, n=12) == cost.least_q(T=11, n=12) == 0


def test_in_a_table_code_two_features_meet_in_their_share_of_common_positions() -> None:
    code = cost.table_code(TABLE, n=21)
    signed = cost.table_code(TABLE, n=21, rng=2)
    for t, u in combinations(range(49), 2):
        shared = len({*TABLE[t].tolist()} & {*TABLE[u].tolist()}) / 3
        assert code[t] @ code[u] == pytest.approx(shared)
        assert abs(signed[t] @ signed[u]) == pytest.approx(shared)
    assert np.array_equal(abs(signed), code)
    assert 0.4 < (signed[signed != 0] > 0).mean() < 0.6
    q = cisp.mean_squared_overlap(TABLE, n=21)
    assert cost.interference(code).rms ** 2 == pytest.approx(q)


def test_the_noise_of_the_lemma_gives_the_posts_two_point_seven() -> None:
    epsilon = cost.lemma_noise(T=100, n=100)
    assert epsilon == pytest.approx(0.607, abs=5e-4)
    assert 1 / epsilon**2 == pytest.approx(2.7, abs=0.05)  # as the comment has it


def test_lengths_within_epsilon_leave_inner_products_within_what_the_docstring_says() -> None:
    for epsilon in (0.01, 0.1, 0.5):
        ends = 1 - epsilon, 1 + epsilon
        cosines = [
            (u + v - distance) / (2 * sqrt(u * v))  # squared lengths; the distance of two is 2
            for u, v, distance in product(ends, ends, (2 * end for end in ends))
        ]
        assert max(abs(np.array(cosines))) == pytest.approx(2 * epsilon / (1 - epsilon))


def test_the_share_read_right_is_that_of_gaussian_noise() -> None:
    T, z, q, samples = 30, 4, 0.01, 20_000
    noise = rng().normal(size=(samples, T)) * sqrt(z * q)
    found = (abs(noise.clip(0)) < 0.5).all(1).mean()
    assert abs(found - cost.all_right(T=T, q=q, z=z)) < 4 * 0.5 / sqrt(samples)
    assert cost.all_right(T=T, q=0, z=z) == 1


def test_the_share_read_right_is_that_of_random_codes() -> None:
    T, n, z, share = 60, 64, 4, []
    for k in range(60):  # codes, of which each is luckier or not
        code, on = cost.random_code(T=T, n=n, rng=k), cost.draw(T=T, z=z, samples=200, rng=k)
        share.append(((cost.carry([code], on)[0] > 0.5) == on).all(1).mean())
    expected = cost.all_right(T=T, q=1 / n, z=z)
    # others than itself: z or z - 1; tails of sums of four are not quite Gaussian: both about 0.03
    assert abs(np.mean(share) - expected) < 4 * np.std(share) / sqrt(60) + 0.06


def test_at_most_active_half_of_all_inputs_are_right() -> None:
    for T, z in ((2, 1), (100, 7), (10**6, 50)):
        q = 1 / (4 * z * norm.isf(1 - 0.5 ** (1 / T)) ** 2)
        assert cost.most_active(T=T, q=q) == pytest.approx(min(z, T))
        assert cost.all_right(T=T, q=q, z=z) == pytest.approx(0.5)
    assert cost.most_active(T=100, q=0) == 100


def test_most_active_nears_the_posts_bound_from_above() -> None:
    ratios = [cost.most_active(T=10**k, q=0.01) * 8 * 0.01 * k * log(10) for k in (2, 4, 6, 9)]
    assert ratios == sorted(ratios, reverse=True)
    assert 1 < ratios[-1] < 1.2 < ratios[0] < 2


@pytest.mark.parametrize("M", [2, 3, 8])
@pytest.mark.parametrize("wrong", [0.01, 0.2])
def test_of_values_on_so_many_levels_the_given_share_is_lost(M: int, wrong: float) -> None:
    z = 33
    step = norm.isf(wrong * M / (M - 1) / 2)  # half a step in standard deviations
    q = (0.5 / (M - 1) / step) ** 2 / (z - 1) * 6 * (M - 1) / (2 * M - 1)
    assert cost.levels(q=q, z=z, wrong=wrong) == pytest.approx(M, rel=1e-6)
    level = rng().integers(M, size=(20_000, z))
    noise = (level[:, 1:] / (M - 1) * rng(1).normal(size=(20_000, z - 1))).sum(1) * sqrt(q)
    read = np.clip(np.round(level[:, 0] + noise * (M - 1)), 0, M - 1)
    lost = (read != level[:, 0]).mean()
    # a sum of 32 terms of unequal size has tails a little heavier than Gaussian
    assert abs(lost - wrong) < 4 * sqrt(wrong / 20_000) + 0.15 * wrong


def test_levels_end_at_one_and_are_endless_without_noise() -> None:
    assert cost.levels(q=0.5, z=100) == 1
    assert cost.levels(q=0, z=5) == cost.levels(q=0.1, z=1) == np.inf


def test_noise_compounds_over_fresh_codes_as_predicted_and_not_at_all_over_rotations() -> None:
    T, n, z, layers, runs = 40, 20, 3, 3, 300
    found = []
    for k in range(runs):
        on = cost.draw(T=T, z=z, samples=10, rng=k)
        codes = [cost.random_code(T=T, n=n, rng=(k, layer)) for layer in range(layers)]
        errors = cost.carry(codes, on.astype(float))
        found.append([(each[~on] ** 2).mean() for each in errors])
    predicted = cost.compounded(T=T, q=1 / n, z=z, layers=layers)
    assert (abs(np.mean(found, 0) - predicted) < 4 * np.std(found, 0) / sqrt(runs)).all()
    basis = [cost.optimised_code(T=20, n=20, rng=k) for k in range(3)]
    on = cost.draw(T=20, z=7, samples=10)
    assert np.allclose(cost.carry(basis, on.astype(float)), on, atol=1e-6)


def test_carry_is_a_loop_over_samples_and_features() -> None:
    codes = [cost.random_code(T=5, n=4, rng=k) for k in (1, 2)]
    x = rng().normal(size=(3, 5))
    for layer in range(2):
        held = [sum(value * row for value, row in zip(each, codes[layer])) for each in x]  # noqa: B905
        x = np.array([[row @ each for row in codes[layer]] for each in held])
        assert np.allclose(cost.carry(codes[: layer + 1], rng().normal(size=(3, 5)))[-1], x)


def test_a_feature_is_all_on_where_others_have_its_positions() -> None:
    on = cost.draw(T=49, z=6, samples=300, rng=1)
    found = cost.all_on(TABLE, on, n=21)
    for each, row in zip(on, found, strict=True):
        taken = {p for t in np.flatnonzero(each) for p in TABLE[t].tolist()}
        assert row.tolist() == [{*places} <= taken for places in TABLE.tolist()]
    assert (found > on).any()


def test_where_two_features_share_one_position_fewer_than_S_put_no_other_on() -> None:
    every = np.zeros((49 * 48 // 2, 49), dtype=bool)
    for row, pair in zip(every, combinations(range(49), 2), strict=True):
        row[list(pair)] = True
    assert np.array_equal(cost.all_on(TABLE, every, n=21), every)


def test_falsely_on_is_the_share_of_all_sets_that_take_a_feature() -> None:
    for z in (2, 3, 4):
        sets = np.array([*combinations(range(1, 49), z)])
        taken = np.zeros((len(sets), 21), dtype=bool)
        np.put_along_axis(taken, TABLE[sets].reshape(len(sets), -1), True, 1)
        expected = taken[:, TABLE[0]].all(1).mean()
        assert cost.falsely_on(T=49, n=21, S=3, z=z) == pytest.approx(expected, rel=1e-9)
    assert cost.falsely_on(T=49, n=21, S=3, z=2) == 0 < expected
    assert cost.falsely_on(T=49, n=21, S=3, z=48) == pytest.approx(1)


def test_so_many_are_drawn_and_each_as_often() -> None:
    on = cost.draw(T=10, z=3, samples=4000, rng=1)
    assert (on.sum(1) == 3).all()
    assert (abs(on.mean(0) - 0.3) < 4 * sqrt(0.21 / 4000)).all()


@pytest.mark.parametrize(
    ("call", "said"),
    {
        "an odd power": (
            lambda: cost.optimised_code(T=4, n=3, power=3),
            "power=3 is not allowed; power must be even",
        ),
        "a code that is not of unit length": (
            lambda: cost.interference(2 * STAR),
            "its rows must be two or more unit vectors",
        ),
        "a position that is not there": (
            lambda: cost.table_code(TABLE, n=20),
            r"its positions must be in 0\.\.19",
        ),
        "a position twice": (
            lambda: cost.table_code(np.array([[1, 1]]), n=3),
            "a row must not hold a position twice",
        ),
        "inputs of other features": (
            lambda: cost.carry([STAR], np.zeros((2, 4))),
            r"x is .*; it must be an array of shape \(samples, 3\)",
        ),
        "no code": (lambda: cost.carry([], np.zeros((2, 4))), "codes is empty"),
        "numbers for which are on": (
            lambda: cost.all_on(TABLE, np.zeros((2, 49)), n=21),
            "on is an array of float64; it must be of booleans",
        ),
        "more than all": (
            lambda: cost.draw(T=3, z=4, samples=1),
            r"z=4 is not allowed; z must be an integer in 1\.\.3",
        ),
    }.values(),
)
def test_bad_input_is_refused(
    call: Callable[[], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    with pytest.raises(ValueError, match=said):
        call()
